"""ASFT, from its sheet: with odds, as the paper writes it."""

from __future__ import annotations

from math import exp, log

import oracle
from case import Case
from oracle import nls


def asft(w: dict, l: dict, lam: float, nll: float = 1.0, beta: float = 1.0) -> float:
    p, q = exp(w["logp"] / w["length"]), exp(l["logp"] / l["length"])
    odds = [log(x) - log(1 - x) for x in (p, q)]
    return -nll * log(p) + lam * (nls(beta * odds[0]) + nls(-beta * odds[1]))


P = exp(-2.0)
CASES = [
    Case(
        "asft(lam=0.7)",
        lambda w, l: asft(w, l, 0.7),
        1.7 * 2 - 0.7 * log(1 - P),
        reference=False,
        limits=(("asft(lam=0.0)", "sft()"),),
    ),
    Case(
        "asft(lam=0.5, nll=0.25, beta=2.0)",
        lambda w, l: asft(w, l, 0.5, 0.25, 2.0),
        0.5 + 0.5 * (nls(2 * log(P / (1 - P))) + nls(-2 * log(P / (1 - P)))),
        reference=False,
    ),
    Case(
        "asft() + 0.5*sft()",
        lambda w, l: asft(w, l, 1.0) + 0.5 * oracle.sft(w, l, "token"),
        5.0 - log(1 - P),
        reference=False,
        limits=(("asft(lam=0.6) + 0.5*sft()", "asft(lam=0.6, nll=1.5)"),),
    ),
]
