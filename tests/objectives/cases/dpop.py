"""DPO-Positive, from section 10 of the sheet of the standard losses."""

from __future__ import annotations

from case import Case
from oracle import nls


def dpop(w: dict, l: dict, beta: float, lam: float) -> float:
    x, y = w["logp"] - w["ref"], l["logp"] - l["ref"]
    return nls(beta * (x - y - lam * max(0.0, -x)))


CASES = [
    Case(
        "dpop(beta=0.3, lam=2.0)",
        lambda w, l: dpop(w, l, 0.3, 2.0),
        0.6931471805599453,
        limits=(("dpop(beta=0.3, lam=0.0)", "dpo(beta=0.3)"),),
        kink=lambda w, l: min(abs(w["logp"] - w["ref"]), abs(l["logp"] - l["ref"])),
    ),
]
