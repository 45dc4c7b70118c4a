"""CoLoR, sheet section 2 (the released code's loss)."""

from __future__ import annotations

from math import exp, log

import oracle
from case import Case


def color(w: dict, l: dict, beta: float, coefficient: float, most: float) -> float:
    a, b = w["logp"] / w["length"], l["logp"] / l["length"]
    # mean log-probabilities of the rows may pass 0, where a probability ends: the tangent at -1e-6, as the loss says
    z = logit(a) - logit(b)
    m = min(most, max(1.0, coefficient * (l["length"] - w["length"])))
    return -a + beta * oracle.nls(m * z)


def logit(x: float) -> float:
    edge = -1e-6
    if x <= edge:
        return x - log(1 - exp(x))
    return edge - log(1 - exp(edge)) + (x - edge) * (1 + exp(edge) / (1 - exp(edge)))


_OWN = (
    "no chosen side of the rows of that test is the shorter one; tests/objectives/test_color.py has the factor's shape"
)
FACTOR = {"field coefficient": _OWN, "field most": _OWN}
CASES = [
    # all alike: NLL 2 a token and 2.5 ln 2
    Case(
        "color(coefficient=0.5)", lambda w, l: color(w, l, 2.5, 0.5, 10.0), 2 + 2.5 * 0.6931471805599453, reference=False,
        limits=(("color(beta=0.3, coefficient=0.0)", "orpo(lam=0.3)"),),
        exempt=FACTOR,
    ),
    Case("color(beta=1.0, coefficient=1.0, most=2.0)", lambda w, l: color(w, l, 1.0, 1.0, 2.0), 2 + 0.6931471805599453,
         reference=False, exempt=FACTOR),
]  # fmt: skip
