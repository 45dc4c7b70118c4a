"""Gamma-scaled DPO, sheet preference-rankings section 2 (eq. 4)."""

from __future__ import annotations

import oracle
from case import Case

LN2 = 0.6931471805599453


def gamma_dpo(w: dict, l: dict, beta: float, gamma: float) -> float:
    return oracle.nls(beta * ((w["logp"] - l["logp"]) + gamma * (l["ref"] - w["ref"])))


LIMITS = (("gamma_dpo(gamma=1.0)", "dpo()"), ("gamma_dpo(gamma=0.0)", "cpo(alpha=0.0)"))
CASES = [
    Case("gamma_dpo()", lambda w, l: gamma_dpo(w, l, 0.1, 0.5), LN2, limits=LIMITS),
    Case("gamma_dpo(beta=0.4, gamma=2.0)", lambda w, l: gamma_dpo(w, l, 0.4, 2.0), LN2),
]
