"""AlphaPO, from its formula: SimPO with the reward beta (1 - p^-alpha) / alpha."""

from __future__ import annotations

from math import exp, log1p

from case import Case
from oracle import nls


def reward(c: dict, beta: float, alpha: float) -> float:
    p = exp(c["logp"] / c["length"])
    return beta * (1 - p ** (-alpha)) / alpha


def alphapo(w: dict, l: dict, beta: float, alpha: float, gamma: float) -> float:
    return nls(reward(w, beta, alpha) - reward(l, beta, alpha) - gamma)


CASES = [
    Case(
        "alphapo()",
        lambda w, l: alphapo(w, l, 2.5, 0.25, 0.1),
        log1p(exp(0.1)),
        reference=False,
        limits=(("alphapo(beta=2.0, alpha=0.0, gamma=0.5)", "simpo(beta=2.0, gamma=0.5)"),),
    ),
    Case(
        "alphapo(beta=1.5, alpha=-0.5, gamma=0.0)",
        lambda w, l: alphapo(w, l, 1.5, -0.5, 0.0),
        0.6931471805599453,
        reference=False,
        exempt={"field gamma": "half of 0 is 0"},
    ),
]
