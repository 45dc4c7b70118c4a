"""How often the 95 % intervals of reliabilities and noise rate hold the truth, on simulated worlds.

    python benchmarks/interval_coverage.py [--repetitions 200] [--seed 0] [--json]

Calibrated margins N(0, 2^2) nats, labels by annotators of known reliability; `assent.robust` estimates the reliabilities
(and the temperature, where it says so) and gives the intervals. Reliabilities: share over all annotators and repetitions.
"""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

import torch

from assent.robust.estimation import estimate
from assent.robust.intervals import intervals
from assent.scores import Labels

SIX = [0.95, 0.90, 0.85, 0.70, 0.60, 0.30]
FIFTY = [0.6 + 0.35 * k / 49 for k in range(50)]
WORLDS: dict[str, dict[str, Any]] = {
    "one annotator of .75, 2,000 pairs": {"pairs": 2000, "etas": [0.75]},
    "one of .95, 500 pairs": {"pairs": 500, "etas": [0.95]},
    "one of .95, 4,000 pairs, temperature fitted": {"pairs": 4000, "etas": [0.95], "fit": True},
    "six, 3,000 pairs": {"pairs": 3000, "etas": SIX},
    "six, 3,000 pairs, temperature fitted": {"pairs": 3000, "etas": SIX, "fit": True},
    "six, 1,000 pairs of three labels, no margins": {"pairs": 1000, "etas": SIX, "per_pair": 3, "margins": False},
    "six, 1,500 pairs of two, temperature fitted": {"pairs": 1500, "etas": SIX, "per_pair": 2, "fit": True},
    "fifty with 30 labels each": {"pairs": 1500, "etas": FIFTY},
}


def draw(generator: torch.Generator, pairs: int, etas: list[float], per_pair: int) -> tuple[torch.Tensor, Labels]:
    """Margins [P] in nats of the stored order, and labels: in turn where a pair has one, by random annotators else."""
    logit = 2 * torch.randn(pairs, generator=generator, dtype=torch.float64)
    order = torch.rand(pairs, generator=generator, dtype=torch.float64) < torch.sigmoid(logit)
    who = torch.arange(pairs) % len(etas)
    if per_pair > 1:
        who = torch.rand(pairs, len(etas), generator=generator).argsort(1)[:, :per_pair].reshape(-1)
    pair = torch.arange(pairs).repeat_interleave(per_pair)
    right = torch.rand(len(pair), generator=generator, dtype=torch.float64) < torch.tensor(etas).double()[who]
    return logit, Labels(pair, who, torch.where(right, order[pair], ~order[pair]).double())


def cover(
    repetitions: int,
    seed: int,
    pairs: int,
    etas: list[float],
    per_pair: int = 1,
    fit: bool = False,
    margins: bool = True,
) -> dict[str, float]:
    """Shares of the intervals that hold the truth."""
    generator = torch.Generator().manual_seed(seed)
    true = torch.tensor(etas, dtype=torch.float64)
    held, noise = 0.0, 0
    for _ in range(repetitions):
        logit, labels = draw(generator, pairs, etas, per_pair)
        given = logit if margins else None
        reach = intervals(estimate(given, labels, len(etas), temperature="fit" if fit else 1.0), given, labels)
        held += float(((reach.low <= true) & (true <= reach.high)).double().mean())
        noise += reach.noise_rate_low <= 1 - float(true[labels.annotator].mean()) <= reach.noise_rate_high
    return {"reliabilities": held / repetitions, "noise_rate": noise / repetitions}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    started = time.process_time()
    found = {name: cover(options.repetitions, options.seed, **world) for name, world in WORLDS.items()}
    spent = time.process_time() - started
    if options.json:
        print(json.dumps({"schema": 1, "repetitions": options.repetitions, "worlds": found, "cpu_seconds": spent}))
        return
    print("| world | reliabilities | noise rate |\n|---|---:|---:|")
    for name, share in found.items():
        print(f"| {name} | {share['reliabilities']:.3f} | {share['noise_rate']:.3f} |")
    print(f"{options.repetitions} repetitions each, {spent:.0f} s of processor")


if __name__ == "__main__":
    main()
