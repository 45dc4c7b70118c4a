"""EXO for pairs and for groups, from section 14 of the sheet of the standard losses."""

from __future__ import annotations

from math import exp, log

from case import Case
from oracle import sigmoid


def exo(w: dict, l: dict, beta: float, eps: float) -> float:
    q = sigmoid(beta * ((w["logp"] - w["ref"]) - (l["logp"] - l["ref"])))
    return q * (log(q) - log(1 - eps)) + (1 - q) * (log(1 - q) - log(eps))


def exo_group(group: list[dict], beta: float, beta_r: float) -> float:
    ours = [exp(beta * (c["logp"] - c["ref"])) for c in group]
    data = [exp(c["score"] / beta_r) for c in group]
    ours, data = [o / sum(ours) for o in ours], [d / sum(data) for d in data]
    return sum(o * log(o / d) for o, d in zip(ours, data, strict=True))


CASES = [
    Case("exo()", lambda w, l: exo(w, l, 0.1, 0.001), -log(2) - (log(0.999) + log(0.001)) / 2),
    Case("exo(beta=0.4, eps=0.2)", lambda w, l: exo(w, l, 0.4, 0.2), -log(2) - (log(0.8) + log(0.2)) / 2),
    Case("exo_group(beta=0.4, beta_r=0.7)", lambda g: exo_group(g, 0.4, 0.7), 0.0, rows="groups"),
]
