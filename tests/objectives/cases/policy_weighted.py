"""WPO, base-losses section 22."""

from __future__ import annotations

from functools import partial
from math import exp, log

import oracle
from case import Case

LN2 = 0.6931471805599453


def weight(w: dict, l: dict, clamp: bool) -> float:
    v = 1.0
    for side in (w, l):
        v *= exp(sum(t["logp"] - log(t["sum_sq"]) for t in side["tokens"]) / side["length"])
    return min(1.0, v) if clamp else v


def wpo(w: dict, l: dict, base, clamp: bool) -> float:
    return weight(w, l, clamp) * base(w, l)


HELD = {"gradient": "the weight has no gradient; tests/weighting/test_policy_weighted.py has the loss's own"}
# all alike: log-probability -2 a token, sum of squares 1/2: v = exp(-2 - log 0.5) = 2 e^-2 on either side, W = 4 e^-4
START = 4 * exp(-4)
CASES = [
    Case("wpo()", partial(wpo, base=partial(oracle.dpo, beta=0.01), clamp=True), START * LN2, exempt=HELD),
    Case("wpo(beta=0.1, clamp=False)", partial(wpo, base=partial(oracle.dpo, beta=0.1), clamp=False), START * LN2,
         exempt=HELD),
    Case("policy_weighted(ipo())", partial(wpo, base=partial(oracle.ipo, tau=0.1, per="sequence"), clamp=True), START * 25,
         exempt=HELD),
]  # fmt: skip
