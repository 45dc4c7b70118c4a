"""Length-normalised DPO, section 23 of the sheet of the standard losses, and Step-DPO."""

from __future__ import annotations

from case import Case
from oracle import dpo, nls


def dpo_norm(w: dict, l: dict, beta: float) -> float:
    return nls(beta * ((w["logp"] - w["ref"]) / w["length"] - (l["logp"] - l["ref"]) / l["length"]))


CASES = [
    Case("dpo_norm()", lambda w, l: dpo_norm(w, l, 5.0), 0.6931471805599453),
    Case(
        "step_dpo()", lambda w, l: dpo(w, l, 0.4), 0.6931471805599453, limits=(("step_dpo(beta=0.3)", "dpo(beta=0.3)"),)
    ),
]
