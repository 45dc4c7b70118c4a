"""APO-zero and APO-down, from section 13 of the sheet of the standard losses."""

from __future__ import annotations

from case import Case
from oracle import sigmoid


def _x(c: dict) -> float:
    return c["logp"] - c["ref"]


def apo_zero(w: dict, l: dict, beta: float) -> float:
    return (1 - sigmoid(beta * _x(w))) + sigmoid(beta * _x(l))


def apo_down(w: dict, l: dict, beta: float) -> float:
    return sigmoid(beta * _x(w)) + 1 - sigmoid(beta * (_x(w) - _x(l)))


CASES = [
    Case("apo_zero(beta=0.4)", lambda w, l: apo_zero(w, l, 0.4), 1.0),
    Case(
        "apo_zero_unpaired(beta=0.4)",
        lambda c: 1 - sigmoid(0.4 * _x(c)) if c["label"] else sigmoid(0.4 * _x(c)),
        0.5,
        rows="labelled",
    ),
    Case("apo_down(beta=0.4)", lambda w, l: apo_down(w, l, 0.4), 1.0),
]
