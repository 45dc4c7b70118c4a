"""R-DPO, from section 9 of the sheet of the standard losses."""

from __future__ import annotations

from case import Case
from oracle import nls


def r_dpo(w: dict, l: dict, beta: float, alpha: float) -> float:
    h = (w["logp"] - w["ref"]) - (l["logp"] - l["ref"])
    return nls(beta * h + alpha * (w["length"] - l["length"]))


CASES = [
    Case(
        "r_dpo(beta=0.3, alpha=0.2)",
        lambda w, l: r_dpo(w, l, 0.3, 0.2),
        0.6931471805599453,
        limits=(("r_dpo(beta=0.3, alpha=0.0)", "dpo(beta=0.3)"),),
    ),
]
