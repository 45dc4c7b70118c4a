"""SPPO, hard, soft and of groups, from its sheet and section 16 of the sheet of the standard losses."""

from __future__ import annotations

from case import Case


def sppo(w: dict, l: dict, beta: float) -> float:
    return (w["logp"] - w["ref"] - (1 - 0.5) / beta) ** 2 + (l["logp"] - l["ref"] - (0 - 0.5) / beta) ** 2


def one(c: dict, beta: float) -> float:
    return (c["logp"] - c["ref"] - (c["score"] - 0.5) / beta) ** 2


CASES = [
    Case("sppo(beta=0.5)", lambda w, l: sppo(w, l, 0.5), 2.0),
    Case(
        "sppo_soft(beta=0.5, column='score')",
        lambda w, l: one(w, 0.5) + one(l, 0.5),
        2.0,  # score 0 is a win rate of 0: target -1 on both sides
    ),
    Case("sppo_group(beta=0.5)", lambda g: sum(one(c, 0.5) for c in g) / len(g), 1.0, rows="groups"),
]
