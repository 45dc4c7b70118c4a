"""ORPO, from section 6 of the sheet of the standard losses."""

from __future__ import annotations

from math import exp, log

from case import Case
from oracle import nls


def log_odds(x: float) -> float:
    """log(p / (1 - p)) of p = e^x; beyond the documented bound x = -1e-6 the complement's tangent."""
    c = min(x, -1e-6)
    return x - (log(1 - exp(c)) - (x - c) * exp(c) / (1 - exp(c)))


def orpo(w: dict, l: dict, lam: float) -> float:
    x, y = w["logp"] / w["length"], l["logp"] / l["length"]
    return -x + lam * nls(log_odds(x) - log_odds(y))


def _far(w: dict, l: dict) -> float:
    """How far both mean log-probabilities lie below 0, where the odds end."""
    return min(-w["logp"] / w["length"], -l["logp"] / l["length"])


CASES = [
    Case(
        "orpo(lam=0.5)",
        lambda w, l: orpo(w, l, 0.5),
        2.0 + 0.5 * 0.6931471805599453,
        reference=False,
        limits=(("orpo(lam=0.0)", "sft(per='token')"),),
        kink=_far,
    ),
]
