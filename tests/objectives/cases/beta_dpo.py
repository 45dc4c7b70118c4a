"""beta-DPO, from section 11 of the sheet of the standard losses; the draw of the filter is in test_beta_dpo.py."""

from __future__ import annotations

from case import Case
from oracle import nls

LN2 = 0.6931471805599453
EXEMPT = {
    "gradient": "the step's beta carries no gradient; tests/objectives/test_beta_dpo.py has the gradient",
    "soft label": "the step's beta depends on the step's labels",
    "field drop": "half of a share of 0 is 0; tests/objectives/test_beta_dpo.py has it",
}


def beta_dpo(rows: list[tuple[dict, dict]], beta: float, a: float, momentum: float) -> list[float]:
    d = [(w["logp"] - w["ref"]) - (l["logp"] - l["ref"]) for w, l in rows]
    mean = sum(d) / len(d)
    moving = momentum * 0.0 + (1 - momentum) * mean
    b = max(1e-3, beta * (1 + a * (mean - moving)))
    return [nls(b * x) for x in d]


CASES = [
    Case(
        "beta_dpo(beta=0.2, a=0.4, drop=0.0, momentum=0.8)",
        lambda rows: beta_dpo(rows, 0.2, 0.4, 0.8),
        LN2,
        coupled=True,
        exempt=EXEMPT,
        limits=(("beta_dpo(beta=0.2, a=0.0, drop=0.0)", "dpo(beta=0.2)"),),
    ),
]
