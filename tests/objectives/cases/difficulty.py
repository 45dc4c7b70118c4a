"""Difficulty as weight, filter and curriculum, sheet preference-rankings sections 2 and 7."""

from __future__ import annotations

import oracle
from case import Case

LN2 = 0.6931471805599453


def hard(w: dict, l: dict) -> float:
    return l["ref"] - w["ref"]


def kept(w: dict, l: dict, most: float) -> float:
    return oracle.dpo(w, l, 0.1) if hard(w, l) <= most else 0.0


CASES = [
    Case("difficulty_weight(dpo(), scale=2.0)",
         lambda w, l: oracle.sigmoid(-hard(w, l) / 2) * oracle.dpo(w, l, 0.1), 0.5 * LN2),
    Case("difficulty_filter(dpo(), most=3.0)", lambda w, l: kept(w, l, 3.0), LN2),
    Case("difficulty_curriculum(dpo(), start=3.0)", lambda w, l: kept(w, l, 3.0), LN2,
         limits=(("difficulty_curriculum(dpo(), start=1.0)", "difficulty_filter(dpo(), most=1.0)"),),
         exempt={"field pace": "read from the second step on; tests/weighting/test_difficulty.py has it"}),
]  # fmt: skip
