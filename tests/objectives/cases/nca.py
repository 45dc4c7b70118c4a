"""NCA and InfoNCA, from section 15 of the sheet of the standard losses."""

from __future__ import annotations

from math import exp, log

from case import Case
from oracle import nls

LN2 = 0.6931471805599453


def _x(c: dict) -> float:
    return c["logp"] - c["ref"]


def nca(w: dict, l: dict, beta: float) -> float:
    return nls(beta * _x(w)) + nls(-beta * _x(w)) / 2 + nls(-beta * _x(l)) / 2


def shares(group: list[dict], alpha: float) -> list[float]:
    q = [exp(c["score"] / alpha) for c in group]
    return [v / sum(q) for v in q]


def infonca(group: list[dict], beta: float, alpha: float) -> float:
    total = log(sum(exp(beta * _x(c)) for c in group))
    return sum(q * (total - beta * _x(c)) for q, c in zip(shares(group, alpha), group, strict=True))


def nca_group(group: list[dict], beta: float, alpha: float) -> float:
    return sum(
        q * nls(beta * _x(c)) + nls(-beta * _x(c)) / len(group)
        for q, c in zip(shares(group, alpha), group, strict=True)
    )


CASES = [
    Case("nca(beta=0.3)", lambda w, l: nca(w, l, 0.3), 2 * LN2),
    Case("infonca(beta=0.3, alpha=0.7)", lambda g: infonca(g, 0.3, 0.7), LN2, rows="groups"),
    Case("nca_group(beta=0.3, alpha=0.7)", lambda g: nca_group(g, 0.3, 0.7), 2 * LN2, rows="groups"),
]
