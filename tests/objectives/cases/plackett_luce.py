"""Plackett-Luce, from the definition: draw the best, then the best of the rest, and so on."""

from __future__ import annotations

from math import exp, log

from case import Case


def plackett_luce(group: list[dict], beta: float) -> float:
    r = [beta * (c["logp"] - c["ref"]) for c in sorted(group, key=lambda c: -c["score"])]
    return sum(log(sum(exp(v) for v in r[k:])) - r[k] for k in range(len(r)))


CASES = [
    Case(
        "plackett_luce(beta=0.3)",
        lambda g: plackett_luce(g, 0.3),
        2 * 0.6931471805599453,  # a tie of two: each stands in the other's sum
        rows="groups",
    ),
]
