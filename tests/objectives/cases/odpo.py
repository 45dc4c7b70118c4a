"""ODPO, from its formula; the offset of the swapped order is the negative of the stored one's."""

from __future__ import annotations

from math import log

from case import Case
from oracle import nls


def odpo(w: dict, l: dict, beta: float, alpha: float, linear: bool) -> float:
    h = (w["logp"] - w["ref"]) - (l["logp"] - l["ref"])
    gap = w["score"] - l["score"]
    if linear or gap == 0:
        return nls(beta * h - alpha * gap)
    return nls(beta * h - alpha * log(gap)) if gap > 0 else nls(beta * h + alpha * log(-gap))


CASES = [
    Case(
        "odpo(beta=0.3, alpha=0.5)",
        lambda w, l: odpo(w, l, 0.3, 0.5, False),
        0.6931471805599453,
        limits=(("odpo(beta=0.3, alpha=0.0)", "dpo(beta=0.3)"),),
    ),
    Case("odpo(beta=0.3, alpha=0.5, f='linear')", lambda w, l: odpo(w, l, 0.3, 0.5, True), 0.6931471805599453),
]
