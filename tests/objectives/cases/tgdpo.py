"""TGDPO, sheet section 2."""

from __future__ import annotations

from functools import partial

from case import Case
from oracle import nls

LN2 = 0.6931471805599453


def tgdpo(w: dict, l: dict, beta: float, alpha: float, guide: bool) -> float:
    margin = 0.0
    for sign, side in ((1, w), (-1, l)):
        for t in side["tokens"]:
            reward = beta * (t["reward"] - t["ref"]) if guide else t["reward"]
            margin += sign * beta * (1 + sign * alpha * reward) * (t["logp"] - t["ref"])
    return nls(margin)


CASES = [
    Case("tgdpo()", partial(tgdpo, beta=0.1, alpha=0.5, guide=False), LN2, limits=(("tgdpo(alpha=0.0)", "dpo()"),)),
    Case("tgdpo(beta=0.3, alpha=1.5, source='logp')", partial(tgdpo, beta=0.3, alpha=1.5, guide=True), LN2),
]
