"""DiscoPOP, from section 20 of the sheet of the standard losses."""

from __future__ import annotations

from math import exp

from case import Case
from oracle import nls, sigmoid


def discopop(w: dict, l: dict, beta: float, tau: float) -> float:
    m = beta * ((w["logp"] - w["ref"]) - (l["logp"] - l["ref"]))
    k = sigmoid(m / tau)
    return (1 - k) * nls(m) + k * exp(-m)


CASES = [
    Case("discopop()", lambda w, l: discopop(w, l, 0.05, 0.05), 0.6931471805599453 / 2 + 0.5),
    Case("discopop(beta=0.3, tau=2.0)", lambda w, l: discopop(w, l, 0.3, 2.0), 0.6931471805599453 / 2 + 0.5),
]
