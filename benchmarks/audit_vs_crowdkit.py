"""Assent's estimator beside crowd-kit's on the same labels: recurring items, repeated labels; then what margins add.

    python benchmarks/audit_vs_crowdkit.py --crowdkit-python VENV/bin/python [--size small|full] [--case items|repeated]
        [--seed 0] [--json]

crowd-kit runs in an interpreter of its own (`python -m venv VENV && VENV/bin/pip install crowd-kit`), one process after
the other, each on one thread with OMP_NUM_THREADS=1; its own time is measured inside, without imports and files.
`times_faster` compares seconds of processor, which other work on the machine hardly changes.  Without crowd-kit only
Assent's half is measured.  Errors are against the truth that made the labels.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

# (items, labels, annotators) and (pairs, labels a pair, annotators)
SIZES = {
    "small": {"items": [(100, 20_000, 20), (1000, 60_000, 50)], "repeated": [(100_000, 3, 50)]},
    "full": {"items": [(100, 300_000, 50), (1000, 300_000, 50)], "repeated": [(200_000, 3, 100)]},
}


def item_world(seed: int, items: int, labels: int, annotators: int, habits: bool) -> dict[str, np.ndarray]:
    """Comparisons of recurring items: scores N(0, 1.5^2), reliabilities U(.55, .99).

    With ``habits`` an annotator who does not look chooses the first with a probability of his own, U(0, 1), which is
    crowd-kit's model in full; otherwise by a coin, which is a flip with probability 1 - eta.
    """
    random = np.random.default_rng(seed)
    score = 1.5 * random.standard_normal(items)
    first = random.integers(items, size=labels)
    second = (first + 1 + random.integers(items - 1, size=labels)) % items
    eta = random.uniform(0.55, 0.99, annotators)
    who = random.integers(annotators, size=labels)
    order = random.random(labels) < 1 / (1 + np.exp(score[second] - score[first]))
    looks = random.random(labels) < 2 * eta[who] - 1
    habit = random.uniform(0, 1, annotators) if habits else np.full(annotators, 0.5)
    says = np.where(looks, order, random.random(labels) < habit[who])
    return {"score": score, "first": first, "second": second, "eta": eta, "annotator": who, "p": says.astype(float)}


def pair_world(seed: int, pairs: int, per_pair: int, annotators: int) -> dict[str, np.ndarray]:
    """Repeated labels: one latent order per pair drawn from a margin N(0, 2^2), independent flips given it."""
    random = np.random.default_rng(seed)
    logit = 2 * random.standard_normal(pairs)
    z = random.random(pairs) < 1 / (1 + np.exp(-logit))
    eta = random.uniform(0.55, 0.99, annotators)
    who = ((random.integers(annotators, size=(pairs, 1)) + np.arange(per_pair) * 7) % annotators).ravel()
    pair = np.repeat(np.arange(pairs), per_pair)
    right = random.random(len(pair)) < eta[who]
    return {"logit": logit, "z": z, "eta": eta, "annotator": who, "pair": pair, "p": (right == z[pair]).astype(float)}


def order_error(found: np.ndarray, true: np.ndarray) -> float:
    """Share of the pairs of items that ``found`` puts in the wrong order; ties count half."""
    i, j = np.triu_indices(len(true), 1)
    product = (found[i] - found[j]) * (true[i] - true[j])
    return float((product < 0).mean() + 0.5 * (product == 0).mean())


class Clock:
    """Seconds by the wall and of the processor since it was made."""

    def __init__(self) -> None:
        self.wall, self.cpu = time.perf_counter(), time.process_time()

    def read(self) -> dict[str, float]:
        return {"seconds": time.perf_counter() - self.wall, "cpu_seconds": time.process_time() - self.cpu}


def item_errors(world, score, eta) -> dict[str, float]:
    return {
        "order_error": order_error(np.asarray(score), world["score"]),
        "reliability_error": float(np.abs(np.asarray(eta) - world["eta"]).mean()),
    }


def pair_errors(world, posterior, eta) -> dict[str, float]:
    return {
        "order_error": float(((np.asarray(posterior) > 0.5) != world["z"]).mean()),
        "reliability_error": float(np.abs(np.asarray(eta) - world["eta"]).mean()),
    }


def ours(kind: str, world: dict[str, np.ndarray], margins: bool = False) -> dict[str, float]:
    """Assent's estimate of a world: seconds and errors."""
    import torch

    from assent.robust.estimation import estimate
    from assent.robust.items import estimate_items
    from assent.scores import Labels

    torch.set_num_threads(1)
    tensor = {name: torch.from_numpy(value) for name, value in world.items()}
    clock = Clock()
    if kind == "items":
        found = estimate_items(
            tensor["first"], tensor["second"], tensor["annotator"], tensor["p"], len(world["score"]), len(world["eta"])
        )
        return {**clock.read(), **item_errors(world, found.score, found.eta)}
    labels = Labels(tensor["pair"], tensor["annotator"], tensor["p"])
    found = estimate(tensor["logit"] if margins else None, labels, len(world["eta"]))
    return {**clock.read(), **pair_errors(world, found.posterior, found.eta)}


def theirs(method: str, world: dict[str, np.ndarray]) -> dict[str, float]:
    """crowd-kit's estimate of a world, with its default settings: seconds and errors."""
    import pandas as pd
    from crowdkit import aggregation

    workers = range(len(world["eta"]))
    if method == "NoisyBradleyTerry":
        first, second = world["first"], world["second"]
        label = np.where(world["p"] > 0.5, first, second)
        frame = pd.DataFrame({"worker": world["annotator"], "left": first, "right": second, "label": label})
        clock = Clock()
        model = aggregation.NoisyBradleyTerry().fit(frame)
        spent = clock.read()
        score = model.scores_.reindex(range(len(world["score"]))).to_numpy()
        return {**spent, **item_errors(world, score, (1 + model.skills_.reindex(workers).to_numpy()) / 2)}
    frame = pd.DataFrame({"task": world["pair"], "worker": world["annotator"], "label": (world["p"] > 0.5).astype(int)})
    clock = Clock()
    model = getattr(aggregation, method)().fit(frame)
    spent = clock.read()
    posterior = model.probas_[1].reindex(range(len(world["z"]))).to_numpy()
    errors = model.errors_
    eta = [np.mean([errors.loc[(k, label), label] for label in (0, 1)]) for k in workers]
    return {**spent, **pair_errors(world, posterior, eta)}


def ask(python: str | None, method: str, world: dict[str, np.ndarray]) -> dict[str, float] | None:
    """Run ``theirs`` in the other interpreter; None where crowd-kit is not to be had."""
    if python is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "world.npz"
        np.savez(path, **world)
        command = [python, __file__, "--theirs", method, str(path)]
        done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        print(f"crowd-kit's {method} failed: {done.stderr.strip().splitlines()[-1]}", file=sys.stderr)
        return None
    return json.loads(done.stdout.strip().splitlines()[-1])


def compare(name: str, kind: str, method: str, world, python: str | None, **shape) -> dict:
    """One row of the table: both sides on one world."""
    print(f"{name} against {method} ...", file=sys.stderr)
    mine, other = ours(kind, world), ask(python, method, world)
    row = {"case": name, "method": method, **shape, "assent": mine, "crowdkit": other}
    if other is not None:
        row["times_faster"] = other["cpu_seconds"] / mine["cpu_seconds"]
        row["order_error_difference"] = mine["order_error"] - other["order_error"]
        row["reliability_error_difference"] = mine["reliability_error"] - other["reliability_error"]
    return row


def run(size: str, cases: list[str], seed: int, python: str | None) -> dict:
    """All comparisons of a size."""
    rows, margins = [], []
    for items, labels, annotators in SIZES[size]["items"] if "items" in cases else []:
        for habits in (False, True):
            world = item_world(seed, items, labels, annotators, habits)
            name = f"recurring items{' with habits' if habits else ''}"
            shape = {"items": items, "labels": labels, "annotators": annotators}
            rows.append(compare(name, "items", "NoisyBradleyTerry", world, python, **shape))
    for pairs, per_pair, annotators in SIZES[size]["repeated"] if "repeated" in cases else []:
        world = pair_world(seed, pairs, per_pair, annotators)
        shape = {"pairs": pairs, "labels": pairs * per_pair, "annotators": annotators}
        for method in ("DawidSkene", "OneCoinDawidSkene"):
            rows.append(compare("repeated labels", "pairs", method, world, python, **shape))
        margins.append({"labels_alone": rows[-1]["assent"], "with_margins": ours("pairs", world, True), **shape})
    return {"schema": 1, "size": size, "seed": seed, "comparisons": rows, "margins": margins}


def show(report: dict) -> None:
    for row in report["comparisons"]:
        shape = ", ".join(f"{row[k]:,} {k}" for k in ("items", "pairs", "labels", "annotators") if k in row)
        print(f"{row['case']} ({shape})")
        for name, side in (("Assent", row["assent"]), (row["method"], row["crowdkit"])):
            if side is not None:
                print(
                    f"  {name:20s} {side['cpu_seconds']:8.2f} s   order error {side['order_error']:.4f}   "
                    f"reliability error {side['reliability_error']:.4f}"
                )
        if "times_faster" in row:
            print(f"  {row['times_faster']:.0f} times faster")
    for row in report["margins"]:
        alone, both = row["labels_alone"], row["with_margins"]
        print(
            f"what calibrated margins add to {row['pairs']:,} pairs: order error {alone['order_error']:.4f} -> "
            f"{both['order_error']:.4f}, reliability error {alone['reliability_error']:.4f} -> "
            f"{both['reliability_error']:.4f} in {both['cpu_seconds']:.2f} s"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--crowdkit-python", help="interpreter that has crowd-kit (default: none, Assent's half only)")
    parser.add_argument("--size", choices=sorted(SIZES), default="small")
    parser.add_argument("--case", choices=("items", "repeated"), help="one kind of comparison (default: both)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--theirs", nargs=2, metavar=("METHOD", "WORLD"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.theirs:
        method, path = options.theirs
        with np.load(path) as world:
            print(json.dumps(theirs(method, dict(world))))
        return
    report = run(
        options.size, [options.case] if options.case else ["items", "repeated"], options.seed, options.crowdkit_python
    )
    if options.json:
        print(json.dumps(report))
    else:
        show(report)


if __name__ == "__main__":
    main()
