"""Weights from columns of the data: MADPO and Sem-DPO, from their sheets."""

from __future__ import annotations

from math import exp

import oracle
from case import Case
from oracle import sigmoid

LN2 = 0.6931471805599453


def madpo(w: dict, l: dict, beta: float, high: float, low: float, lam: float, tau: float) -> float:
    h = w["score"] - l["score"]
    c = low + (high - low) / (1 + ((high - 1) / (1 - low)) * exp(lam * (abs(h) - tau)))
    weight = sigmoid(c * h) / sigmoid(h) if h > -tau else 1.0
    return weight * oracle.dpo(w, l, beta)


def sem_dpo(w: dict, l: dict, beta: float, alpha: float) -> float:
    return exp(-alpha * w["score"]) * oracle.dpo(w, l, beta)


CASES = [
    Case(
        "madpo(beta=0.3, column='margin', c_max=3.0, c_min=0.25, lam=2.0, tau=0.8)",
        lambda w, l: madpo(w, l, 0.3, 3.0, 0.25, 2.0, 0.8),
        LN2,
    ),
    Case(
        "margin_weighted(dpo(beta=0.1), column='margin')",
        lambda w, l: madpo(w, l, 0.1, 2.0, 0.5, 1.0, 6.906754778648554),
        LN2,
        limits=(("margin_weighted(dpo(beta=0.1), column='margin', c_max=1.0)", "dpo(beta=0.1)"),),
    ),
    Case(
        "sem_dpo(beta=0.3, alpha=0.7, column='score_chosen')",
        lambda w, l: sem_dpo(w, l, 0.3, 0.7),
        LN2,
        limits=(("sem_dpo(beta=0.3, alpha=0.0, column='score_chosen')", "dpo(beta=0.3)"),),
    ),
]
