"""TDPO 1 and 2, base-losses section 18."""

from __future__ import annotations

from functools import partial

from case import Case
from oracle import nls

LN2 = 0.6931471805599453


def tdpo(w: dict, l: dict, beta: float, alpha: float) -> float:
    margin = (w["logp"] - w["ref"]) - (l["logp"] - l["ref"])
    kl = [sum(t["kl"] for t in side["tokens"]) for side in (w, l)]
    return nls(beta * (margin - alpha * (kl[1] - kl[0])))


HELD = {"gradient": "the KL of the chosen side is held constant; tests/objectives/test_tdpo.py has its gradient"}
CASES = [
    Case("tdpo1(beta=0.3)", partial(tdpo, beta=0.3, alpha=1.0), LN2),
    Case("tdpo2()", partial(tdpo, beta=0.1, alpha=0.5), LN2, exempt=HELD, limits=(("tdpo2(alpha=0.0)", "dpo()"),)),
]
