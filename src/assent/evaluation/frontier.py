"""Reward against divergence: runs compared at the same KL, the oracle's lead recovered, and paired bootstraps."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean

from assent.errors import AssentError

Curve = Sequence[Mapping[str, float]]
"""Records along a run in the order of training; each has "kl" (nats per sequence) and further figures."""


def common_kl(curves: Mapping[str, Curve]) -> float:
    """The largest KL that every run reached: the least of the runs' greatest, nats per sequence."""
    if not curves:
        raise AssentError("no runs to compare; give at least one curve")
    return min(max(point["kl"] for point in curve) for curve in curves.values())


def at_kl(curve: Curve, kl: float, name: str) -> float:
    """The figure ``name`` of a run at a KL: linear between the two neighbouring records where it was crossed last.

    A run may pass the same KL several times; the latest passage is the most trained policy of that divergence.
    Raises AssentError when the run never reached ``kl``.
    """
    for earlier, later in zip(reversed(curve[:-1]), reversed(curve[1:]), strict=True):
        low, high = earlier["kl"], later["kl"]
        if min(low, high) <= kl <= max(low, high):
            share = 1.0 if high == low else (kl - low) / (high - low)
            return (1 - share) * earlier[name] + share * later[name]
    reached = max(point["kl"] for point in curve)
    raise AssentError(f"the run reached a KL of {reached:.4g} nats and was asked for {kl:.4g}; ask for a smaller one")


def standard_error(values: Sequence[float]) -> float:
    """Standard error of the mean of independent values; nan for fewer than two."""
    n = len(values)
    if n < 2:
        return float("nan")
    mean = fmean(values)
    return (sum((v - mean) ** 2 for v in values) / (n - 1) / n) ** 0.5


def gap_recovered(method: float, base: float, oracle: float, noise: float = 0.0) -> float | None:
    """(method - base) / (oracle - base); None where the oracle's lead is within two standard errors ``noise``."""
    lead = oracle - base
    if lead == 0 or abs(lead) < 2 * noise:
        return None
    return (method - base) / lead


def paired_bootstrap(
    statistic: Callable[[list[int]], float], units: int, *, level: float = 0.95, draws: int = 10_000, seed: int = 0
) -> tuple[float, float]:
    """Percentile interval of a statistic of ``units`` paired units (seeds), resampled together with replacement.

    statistic: from the drawn indices (with repeats) to the figure.
    """
    rng = random.Random(seed)
    values = sorted(statistic([rng.randrange(units) for _ in range(units)]) for _ in range(draws))
    tail = (1 - level) / 2
    return values[int(tail * (draws - 1))], values[round((1 - tail) * (draws - 1))]


def ratio_of_means(
    method: Sequence[float], base: Sequence[float], oracle: Sequence[float], *, draws: int = 10_000, seed: int = 0
) -> tuple[float, float, float]:
    """Share of the oracle's lead that a method recovers over paired seeds: the point, and a bootstrap 95 % interval."""

    def share(rows: Sequence[int]) -> float:
        lead = sum(oracle[i] - base[i] for i in rows)
        return sum(method[i] - base[i] for i in rows) / lead if lead else float("inf")

    low, high = paired_bootstrap(share, len(base), draws=draws, seed=seed)
    return share(range(len(base))), low, high
