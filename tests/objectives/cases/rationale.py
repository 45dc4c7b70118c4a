"""The rationale term, sheet rationales section 2."""

from __future__ import annotations

import oracle
from case import Case

LN2 = 0.6931471805599453


def linear(w: dict, gamma: float, per: str = "sequence") -> float:
    r = w["rationale"]
    return -gamma * r["logp"] / (r["length"] if per == "token" else 1)


def logistic(w: dict, gamma: float) -> float:
    return oracle.nls(gamma * w["rationale"]["logp"])


FREE = {"reference": False, "exempt": {"huge margins": "the rationale's own log-probability only"}}
CASES = [
    Case("rationale()", lambda w, l: linear(w, 1.0), 6.0, **FREE),
    Case("rationale(gamma=0.3, per='token')", lambda w, l: linear(w, 0.3, "token"), 0.6, **FREE),
    Case("rationale(gamma=0.1, form='logistic')", lambda w, l: logistic(w, 0.1), oracle.nls(-0.6), **FREE),
    Case("dpo_rationale(gamma=0.2)", lambda w, l: oracle.dpo(w, l, 0.1) + linear(w, 0.2), LN2 + 1.2,
         limits=(("dpo_rationale(gamma=0.0)", "dpo()"),)),
    Case("simpo_rationale_reconstructed(rationale=0.5)",
         lambda w, l: oracle.simpo(w, l, 2.0, 0.5) + linear(w, 0.5, "token"), 0.9740769841801067 + 1.0, reference=False),
]  # fmt: skip
