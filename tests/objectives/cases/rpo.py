"""RPO and OSP, from their sheets."""

from __future__ import annotations

import oracle
from case import Case

LN2 = 0.6931471805599453


def cumulative(w: dict, l: dict, beta: float, eta: float) -> float:
    return oracle.dpo(w, l, beta) - eta * beta * w["logp"]


def average(w: dict, l: dict, beta: float, c: float) -> float:
    return oracle.dpo(w, l, beta) + c * -w["logp"] / w["length"]


CASES = [
    Case(
        "rpo(beta=0.2, eta=0.5)",
        lambda w, l: cumulative(w, l, 0.2, 0.5),
        LN2 + 0.6,
        limits=(("rpo(beta=0.2, eta=0.0)", "dpo(beta=0.2)"),),
    ),
    Case("rpo_average(beta=0.5, c=0.2)", lambda w, l: average(w, l, 0.5, 0.2), LN2 + 0.4),
    Case("osp_reconstructed(beta=0.3)", lambda w, l: oracle.dpo(w, l, 0.3), LN2),
]
