"""XPO's term: log-probabilities of what is marked; the rows' scores stand for the marks."""

from __future__ import annotations

import oracle
from case import Case

LN2 = 0.6931471805599453
NO_MARGIN = {"huge margins": "it is linear in the log-probabilities"}


def optimism(w: dict, l: dict) -> float:
    return w["score"] * w["logp"] + l["score"] * l["logp"]


CASES = [
    Case("optimism(column='score')", optimism, 0.0, reference=False),
    Case(
        "dpo(beta=0.3) + 0.2*optimism(column='score')",
        lambda w, l: oracle.dpo(w, l, 0.3) + 0.2 * optimism(w, l), LN2,
    ),
]  # fmt: skip
