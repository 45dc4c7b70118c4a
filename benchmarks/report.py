"""The page of a run of 100,000 pairs and 10,000 steps: how long it takes to write, how large it is, how soon it can be used.

    python benchmarks/report.py [--pairs 100000] [--steps 10000] [--words 80] [--json]

The run is made up: texts of random words, ten annotators, a log line a step, a look every 500 steps.  The browser is the
system's Chromium, the time that from the start of loading to the first list of pairs, the median of five loads.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np


def make_run(folder: Path, pairs: int, steps: int, words: int) -> Path:
    """A run's directory and its data."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from assent.data.reading import read
    from assent.training.arguments import Settings
    from assent.training.provenance import write_labels

    random = np.random.default_rng(0)
    known = np.array(["".join(random.choice(list("abcdefghijklmnoprstuvw"), n)) for n in random.integers(2, 10, 3000)])
    run, data = folder / "run", folder / "data.jsonl"
    run.mkdir()
    with data.open("w") as file:
        for i in range(pairs):
            text = known[(3000 * random.random(2 * words + 20) ** 2).astype(int)]
            row = {"prompt": f"{i} {' '.join(text[:20])}", "chosen": " ".join(text[20 : 20 + words])}
            row |= {"rejected": " ".join(text[20 + words :]), "annotator": f"annotator {i % 10}"}
            file.write(json.dumps(row) + "\n")
    write_labels(run, read(data), Settings(data=data), 0)
    p, logp = random.beta(3, 1.2, pairs), random.normal(-150, 30, (4, pairs)).astype(np.float32)
    columns = {
        "pair": np.arange(pairs),
        "posterior": p,
        "logit": np.log(p / (1 - p)),
        "margin": random.normal(0.3, 1, pairs),
    }
    names = ("logp_chosen", "logp_rejected", "ref_logp_chosen", "ref_logp_rejected")
    columns |= dict(zip(names, logp, strict=True))
    columns |= {f"length_{side}": random.integers(20, 400, pairs).astype(float) for side in ("chosen", "rejected")}
    for epoch in (1, 2, 3):
        pq.write_table(pa.table(columns), run / f"pairs-epoch-{epoch}.parquet")
    keys = (
        "loss",
        "grad_norm",
        "rewards/accuracies",
        "rewards/margins",
        "logps/chosen",
        "logps/rejected",
        "lcpo/noise_rate",
    )
    keys += tuple(f"lcpo/reliability/annotator {k}" for k in range(10))
    noise = random.normal(0.5, 0.05, (steps, len(keys)))
    history = [{"step": i + 1, **dict(zip(keys, noise[i].tolist(), strict=True))} for i in range(steps)]
    (run / "trainer_state.json").write_text(json.dumps({"global_step": steps, "epoch": 3.0, "log_history": history}))
    values = (
        "ranking/accuracy",
        "ranking/reference",
        "displacement/chosen",
        "displacement/rejected",
        "calibration/ece",
    )
    looks = [
        {
            "schema": 1,
            "step": i,
            "split": "held_out",
            "tables": {},
            "values": {k: float(random.random()) for k in values},
        }
        for i in range(0, steps + 1, 500)
    ]
    (run / "diagnostics.jsonl").write_text("".join(json.dumps(look) + "\n" for look in looks))
    return run


def interactive(page: Path, loads: int = 5) -> tuple[list[float], float]:
    """Seconds from the start of loading to the first list of pairs, for each load; and those of sorting them anew."""
    from playwright.sync_api import sync_playwright

    path, seconds = shutil.which("chromium") or shutil.which("google-chrome"), []
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        for _ in range(loads):
            tab = browser.new_page()
            started = time.perf_counter()
            tab.goto(page.absolute().as_uri(), wait_until="commit")
            tab.wait_for_selector("#browser[data-ready] #list [role=option]")
            seconds.append(time.perf_counter() - started)
            sort: Any = """() => {
                const order = document.getElementById('order'), from = performance.now();
                order.value = 'margin';
                order.dispatchEvent(new Event('change'));
                return (performance.now() - from) / 1000;
            }"""
            sorting = tab.evaluate(sort)
            tab.close()
        browser.close()
    return seconds, sorting


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=100_000)
    parser.add_argument("--steps", type=int, default=10_000)
    parser.add_argument("--words", type=int, default=80)
    parser.add_argument("--json", action="store_true", help="one line of JSON in place of the table")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run = make_run(Path(folder), given.pairs, given.steps, given.words)
        started = time.perf_counter()
        from assent.reporting import run_page

        page = run_page.write([run], Path(folder) / "report.html")
        written = time.perf_counter() - started
        loads, sorting = interactive(page)
        found = {
            "pairs": given.pairs, "steps": given.steps, "words": given.words, "written_s": round(written, 2),
            "megabytes": round(page.stat().st_size / 1e6, 2), "usable_s": round(statistics.median(loads), 2),
            "usable_least_s": round(min(loads), 2), "usable_most_s": round(max(loads), 2), "sorted_s": round(sorting, 3),
        }  # fmt: skip
    if given.json:
        print(json.dumps({"schema": 1, **found}))
    else:
        print("\n".join(f"{name:<16} {value:,}" for name, value in found.items()))


if __name__ == "__main__":
    main()
