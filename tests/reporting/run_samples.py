"""A training run's directory with pairs, labels, looks and completions, made up from data on disk without training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from assent.data.reading import read
from assent.training.arguments import Settings
from assent.training.provenance import write_labels
from reporting import samples

HOSTILE = samples.HOSTILE.replace("\ud800", "") + " \U0001f469\u200d\U0001f4bb\U0001f1eb\U0001f1f7 \u2067שלום\u2069"
LONG = 200_000

# Three annotators on one pair, one of them against the others; one who contradicts herself; a soft label; a plain one.
PLAIN = (
    {"prompt": "Where is the old harbour?", "chosen": "Behind the grey hill, by the sea.",
     "rejected": "Behind the red mill, by the sea.", "annotator": "anna"},
    {"prompt": "Where is the old harbour?", "chosen": "Behind the red mill, by the sea.",
     "rejected": "Behind the grey hill, by the sea.", "annotator": "ben"},
    {"prompt": "Where is the old harbour?", "chosen": "Behind the grey hill, by the sea.",
     "rejected": "Behind the red mill, by the sea.", "annotator": "carla"},
    {"prompt": "Who paints?", "chosen": "My sister.", "rejected": "My brother.", "annotator": "anna"},
    {"prompt": "Who paints?", "chosen": "My brother.", "rejected": "My sister.", "annotator": "anna"},
    {"prompt": "Which bread?", "chosen": "Rye.", "rejected": "Wheat.", "annotator": "ben", "p_chosen": 0.8},
    {"prompt": "Which tea?", "chosen": "Green.", "rejected": "Black.", "annotator": "carla"},
)  # fmt: skip


def hostile_rows() -> list[dict[str, Any]]:
    """Rows whose every text tries to break out of a page, or to break its layout."""
    return [
        {
            "prompt": f"{HOSTILE} {i}",
            "chosen": f"{text} {i}",
            "rejected": f"other {text[::-1]}",
            "annotator": HOSTILE[:90],
        }
        for i, text in enumerate(
            (HOSTILE, "</script>" * 40, "\u202e" * 30 + "abc", "w" * LONG, "\U0001f600 " * (LONG // 2))
        )
    ]


def many_rows(count: int, seed: int = 0, words: int = 12) -> list[dict[str, Any]]:
    """Rows of random words by ten annotators."""
    random = np.random.default_rng(seed)
    known = np.array([f"{a}{b}" for a in ("ka", "lo", "mi", "ne", "su", "ra") for b in ("ri", "no", "ta", "du", "vel")])
    text = lambda: " ".join(known[random.integers(0, len(known), words)])  # noqa: E731
    return [
        {"prompt": f"{i} {text()}", "chosen": f"{text()} a", "rejected": f"{text()} b", "annotator": f"ann{i % 10}"}
        for i in range(count)
    ]


def run_with_pairs(
    folder: Path, rows: Any = PLAIN, *, posterior: Any = None, steps: int = 200, seed: int = 0, looks: bool = True
) -> Path:
    """A run in ``folder/run`` on ``folder/data.jsonl``; posterior [P]: its P(stored order is right), random unless given."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    run = samples.run_folder(folder / "run", seed, steps=steps)
    data = folder / "data.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    records = read(data)
    write_labels(run, records, Settings(data=data), seed)
    count, random = len(records), np.random.default_rng(seed)
    p = random.beta(3, 1.5, count) if posterior is None else np.asarray(posterior, dtype=float)
    logp = random.normal(-40, 5, (4, count))
    table = {
        "pair": np.arange(count), "step": np.arange(count) % steps + 1, "target": np.ones(count), "weight": np.ones(count),
        "margin": np.log(p / (1 - p)) / 3, "logit": np.log(p / (1 - p)), "posterior": p, "logp_chosen": logp[0],
        "logp_rejected": logp[1], "ref_logp_chosen": logp[2], "ref_logp_rejected": logp[3],
        "length_chosen": random.integers(5, 90, count).astype(float),
        "length_rejected": random.integers(5, 90, count).astype(float),
    }  # fmt: skip
    for epoch in (1, 2):
        pq.write_table(pa.table(table), run / f"pairs-epoch-{epoch}.parquet")
    if looks:
        _looks(run, steps)
    return run


def _looks(run: Path, steps: int) -> None:
    lines = []
    for step in (0, steps // 2, steps):
        t = step / steps
        values = {
            "pairs": 64.0, "reward/accuracy": 0.5 + 0.2 * t, "reward/accuracy_se": 0.05, "ranking/accuracy": 0.45 + 0.02 * t,
            "ranking/reference": 0.45, "displacement/chosen": -0.3 * t, "displacement/rejected": -0.6 * t,
            "calibration/ece": 0.02 + 0.05 * t, "length/correlation": None, "made_up/<b>": 1.5,
        }  # fmt: skip
        bins = [
            {"low": 0.5, "high": 0.6, "pairs": 40, "stated": 0.55, "seen": 0.52, "seen_se": 0.08},
            {"low": 0.9, "high": 1.0, "pairs": 24, "stated": 0.94, "seen": 0.8, "seen_se": 0.08},
        ]
        cut = [
            {"bucket": name, "pairs": 32, "accuracy": a, "accuracy_se": 0.05, "margin": 0.1, "margin_se": 0.1}
            for name, a in (("anna", 0.7), (HOSTILE[:60], 0.4))
        ]
        turned = {"right_right": 20, "right_wrong": 4, "wrong_right": 8, "wrong_wrong": 32}
        tables = {"calibration": bins, "buckets": {"annotator": cut}, "transition": turned}
        for split in ("held_out", "train"):
            lines.append({"schema": 1, "step": step, "split": split, "values": values, "tables": tables})
    (run / "diagnostics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"cut off')
    told = [
        {"schema": 1, "step": step, "prompt": prompt, "completion": f"at {step} {prompt[::-1]}", "cut": step > 0, "nll": 1.5}
        for step in (0, steps) for prompt in ("a plain prompt", HOSTILE)
    ]  # fmt: skip
    (run / "samples.jsonl").write_text("".join(json.dumps(line) + "\n" for line in told))
