"""Cal-DPO, from section 19 of the sheet of the standard losses."""

from __future__ import annotations

from case import Case
from oracle import nls


def cal_dpo(w: dict, l: dict, beta: float, c: float) -> float:
    x, y = w["logp"] - w["ref"], l["logp"] - l["ref"]
    return nls(x - y) + c * ((x - 1 / (2 * beta)) ** 2 + (y + 1 / (2 * beta)) ** 2)


CASES = [
    Case(
        "cal_dpo(beta=0.5, c=0.3)",
        lambda w, l: cal_dpo(w, l, 0.5, 0.3),
        0.6931471805599453 + 0.3 * 2,
        limits=(
            ("cal_dpo(beta=0.5, c=0.3)", "dpo(beta=1.0) + 0.3*sppo(beta=0.5)"),
            ("cal_dpo(c=0.0)", "dpo(beta=1.0)"),
        ),
    ),
]
