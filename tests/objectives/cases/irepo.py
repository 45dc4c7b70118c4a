"""iREPO's regression onto a certain label, clipped; votes are in test_irepo."""

from __future__ import annotations

from math import log

from case import Case


def irepo(w: dict, l: dict, beta: float, eps: float) -> float:
    gap = beta * ((w["logp"] - w["ref"]) - (l["logp"] - l["ref"]))
    return (gap - log(1 - eps) + log(eps)) ** 2


CASES = [
    Case(
        f"irepo_reconstructed(beta={beta}, eps={eps})",
        lambda w, l, beta=beta, eps=eps: irepo(w, l, beta, eps),
        (log(1 - eps) - log(eps)) ** 2,
        exempt={"soft label": "the loss is a square around logit p, not linear in p"},
    )
    for beta, eps in ((0.1, 0.05), (0.5, 0.2))
]
