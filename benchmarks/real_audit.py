"""The audit on real judgements: can it find labels that were flipped on purpose?

    python benchmarks/real_audit.py --flip 0.3 --seeds 100 101 102 --json

(a) AlpacaEval judgements that are clear (|p_b - 1/2| > 0.4), a share of them flipped: area under the ROC curve of
1 - p_correct against the flips, for the text scorer, the text scorer with the writers of the responses, and length
alone (longer is better, no fit); and the noise rate against e0 + rho - 2 e0 rho.
(b) The same pairs judged by five simulated annotators of different reliability, a fifth of the pairs by two of them.

The data lie outside the repository; without them the script says so and ends.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from pathlib import Path

import numpy as np

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
FILE = "alpaca_eval_judgements.parquet"
RELIABILITIES = {"anna": 0.95, "ben": 0.85, "chloe": 0.75, "dmitri": 0.65, "eve": 0.4}
OVERLAP = 0.2
COLUMNS = ("prompt", "response_a", "response_b", "generator_a", "generator_b", "annotator", "p_b")


def judgements(folder: Path, clear: float = 0.4) -> list[dict]:
    """The judgements whose probability is further than ``clear`` from one half, as rows."""
    import pyarrow.parquet as pq

    rows = pq.read_table(folder / FILE, columns=list(COLUMNS)).to_pylist()
    return [row for row in rows if abs(row["p_b"] - 0.5) > clear]


def flip(rows: list[dict], rate: float, seed: int) -> tuple[list[dict], np.ndarray]:
    """Copies with each judgement turned round with probability ``rate``, and which were [N]."""
    flipped = np.random.default_rng(seed).random(len(rows)) < rate
    out = [{**row, "p_b": 1 - row["p_b"]} if f else row for row, f in zip(rows, flipped, strict=True)]
    return out, flipped


def auroc(score: np.ndarray, positive: np.ndarray) -> float:
    """Area under the ROC curve."""
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(positive, score))


def audited(rows: list[dict], writers: bool) -> dict:
    """One audit: per row P(its label is right), the length gap of its order, and the summary."""
    from assent.auditing import audit

    result = audit(rows, features_from=["generator"] if writers else [])
    t = result.table
    wrong, gap = np.full(len(rows), np.nan), np.full(len(rows), np.nan)
    own = result.length_gap[t.pair] * t.sign
    for j in range(len(t)):
        at = [t.row[j], *t.more.get(j, ())]
        wrong[at], gap[at] = 1 - result.p_correct[j], own[j]
    return {"wrong": wrong, "gap": gap, "result": result, "seconds": result.seconds}


def part_a(rows: list[dict], rate: float, seeds: list[int]) -> dict:
    """AUROC of flips and the noise identity, for each seed."""
    base = {name: audited(rows, name == "writers") for name in ("text", "writers")}
    e0 = {name: found["result"].noise_rate for name, found in base.items()}
    runs = []
    for seed in seeds:
        noisy, flipped = flip(rows, rate, seed)
        run: dict = {"seed": seed, "flipped": int(flipped.sum())}
        for name in ("text", "writers"):
            found = audited(noisy, name == "writers")
            read = ~np.isnan(found["wrong"])  # rows that compare a response with itself are left out by the reader
            r = result_summary(found["result"])
            rho = float(flipped[read].mean())
            run[name] = {
                "auroc": auroc(found["wrong"][read], flipped[read]), **r,
                "expected_noise": e0[name] + rho - 2 * e0[name] * rho, "seconds": found["seconds"],
            }  # fmt: skip
            run[name]["noise_error"] = run[name]["noise_rate"] - run[name]["expected_noise"]
            run["length_auroc"] = auroc(-found["gap"][read], flipped[read])
        runs.append(run)
    return {
        "rows": len(rows), "flip": rate, "unflipped": {n: result_summary(f["result"]) for n, f in base.items()},
        "runs": runs,
        "mean": {
            "length": float(np.mean([r["length_auroc"] for r in runs])),
            "text": float(np.mean([r["text"]["auroc"] for r in runs])),
            "writers": float(np.mean([r["writers"]["auroc"] for r in runs])),
        },
    }  # fmt: skip


def result_summary(result) -> dict:
    """Noise rate with its interval and what it rests on."""
    found = result.to_json()
    return {k: found[k] for k in ("noise_rate", "noise_rate_low", "noise_rate_high", "rests_on", "labels", "pairs")}


def simulated(rows: list[dict], seed: int) -> tuple[list[dict], dict[str, list[bool]]]:
    """The pairs judged anew by simulated annotators: the data's own label is the truth of each."""
    random = np.random.default_rng(seed)
    first = {}
    for row in rows:
        first.setdefault((row["prompt"], *sorted((row["response_a"], row["response_b"]))), row)
    names = list(RELIABILITIES)
    out: list[dict] = []
    right: dict[str, list[bool]] = {name: [] for name in names}
    for row in first.values():
        if row["response_a"] == row["response_b"]:
            continue
        for k in random.choice(len(names), 2 if random.random() < OVERLAP else 1, replace=False):
            correct = bool(random.random() < RELIABILITIES[names[k]])
            right[names[k]].append(correct)
            truth = float(row["p_b"] > 0.5)
            out.append({**row, "annotator": names[k], "p_b": truth if correct else 1 - truth})
    return out, right


def part_b(rows: list[dict], seeds: list[int], e0: float) -> dict:
    """Errors of the reliabilities of five simulated annotators.

    The truth of the simulation is itself wrong in a share e0 of the pairs; against a latent order that the model can
    express an annotator of reliability eta then has eta (1 - e0) + (1 - eta) e0.
    """
    runs = []
    for seed in seeds:
        noisy, right = simulated(rows, seed)
        found = audited(noisy, writers=False)
        json_ = found["result"].to_json()
        people = {}
        for name, own in right.items():
            share = float(np.mean(own))
            there = json_["annotators"][name]
            people[name] = {
                "nominal": RELIABILITIES[name], "drawn": share, "with_e0": share * (1 - e0) + (1 - share) * e0,
                "estimated": there["reliability"], "low": there["low"], "high": there["high"], "labels": len(own),
            }  # fmt: skip
        errors = {
            key: float(np.mean([abs(p["estimated"] - p[key]) for p in people.values()])) for key in ("drawn", "with_e0")
        }
        flipped = np.array([not c for c in _in_order(noisy, right)])
        runs.append(
            {
                "seed": seed, "annotators": people, "mean_absolute_error": errors["drawn"],
                "mean_absolute_error_with_e0": errors["with_e0"], "auroc": auroc(found["wrong"], flipped),
                "length_auroc": auroc(-found["gap"], flipped), **result_summary(found["result"]),
                "seconds": found["seconds"],
            }
        )  # fmt: skip
    return {"overlap": OVERLAP, "e0": e0, "runs": runs}


def _in_order(rows: list[dict], right: dict[str, list[bool]]) -> list[bool]:
    """The verdicts in the order of the rows."""
    place = dict.fromkeys(right, 0)
    out = []
    for row in rows:
        name = row["annotator"]
        out.append(right[name][place[name]])
        place[name] += 1
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flip", type=float, default=0.3, help="share of the judgements to flip in (a)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="one run each")
    parser.add_argument("--part", choices=("a", "b", "both"), default="both")
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the real preference data")
    parser.add_argument("--json", action="store_true", help="one line of JSON on stdout")
    given = parser.parse_args()
    if not (given.data / FILE).is_file():
        skipped = f"skipped: there is no {given.data / FILE}"
        print(json.dumps({"schema": 1, "skipped": skipped}) if given.json else skipped)
        return
    started = time.perf_counter()
    rows = judgements(given.data)
    out: dict = {"schema": 1}
    if given.part in ("a", "both"):
        out["a"] = part_a(rows, given.flip, given.seeds)
        e0 = out["a"]["unflipped"]["text"]["noise_rate"]
    else:
        e0 = audited(rows, writers=False)["result"].noise_rate
    if given.part in ("b", "both"):
        out["b"] = part_b(rows, given.seeds, e0)
    out["seconds"] = time.perf_counter() - started
    out["peak_bytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps(out) if given.json else json.dumps(out, indent=1))


if __name__ == "__main__":
    main()
