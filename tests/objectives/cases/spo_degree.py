"""The degree term of SPO, from its sheet's reconstruction; the heads' logits are made up in rows.py."""

from __future__ import annotations

from math import exp, log

import oracle
from case import Case

LN2 = 0.6931471805599453
START = log(exp(-6.0) + 1 + exp(0.3)) + 6.0
OTHER = log(exp(6.0) + 1 + exp(-0.3)) - 6.0
NO_MARGIN = {"huge margins": "it reads heads, not the pair's log-probabilities"}


def degree(side: dict, sign: float) -> float:
    view = side["own"]
    logits = [sign * view["logp"], sign * view["score"], sign * view["length"] / 10]
    return log(sum(exp(x) for x in logits)) - logits[view["length"] % 3]


CASES = [
    Case("degree_reconstructed(levels=3)", lambda w, l: degree(w, 1.0), START, reference=False, exempt=NO_MARGIN),
    Case(
        "degree_reconstructed(side='rejected', levels=3)",
        lambda w, l: degree(l, -1.0),
        OTHER,
        reference=False,
        exempt=NO_MARGIN,
    ),
    Case(
        "spo_degree_reconstructed(beta=0.3, gamma_w=0.5, gamma_l=0.25, levels=3)",
        lambda w, l: oracle.dpo(w, l, 0.3) + 0.5 * degree(w, 1.0) + 0.25 * degree(l, -1.0),
        LN2 + 0.5 * START + 0.25 * OTHER,
        limits=(("spo_degree_reconstructed(beta=0.3, gamma_w=0.0, gamma_l=0.0, levels=3)", "dpo(beta=0.3)"),),
    ),
]
