"""MAPL, sheet section 2: the intra-sample loss and both readings of the other level."""

from __future__ import annotations

import oracle
from case import Case

LN2 = 0.6931471805599453


def r(side: dict, source: str) -> float:
    return side["score"] if source == "reward" else side["logp"] - side["ref"]


def intra(w: dict, l: dict, beta: float, source: str = "log_ratio") -> float:
    both = [oracle.nls(beta * (r(y["better"], source) - r(y["worse"], source))) for y in (w, l)]
    return sum(both) / 2


def inter(w: dict, l: dict, beta: float, reading: str, source: str = "log_ratio") -> float:
    # own: under the instructions that this side obeys; other: under those of the other side
    up = beta * (r(w["own"], source) - r(l["other"], source))
    down = beta * (r(w["other"], source) - r(l["own"], source))
    if reading == "pairs":
        return oracle.nls(up) + oracle.nls(-down)
    plain = beta * (r(w, source) - r(l, source))
    return oracle.nls(up - plain) + oracle.nls(plain - down)


VIEWS_ONLY = {"huge margins": "it reads the views only, not the pair itself"}
CASES = [
    Case("mapl_intra()", lambda w, l: intra(w, l, 0.1), LN2, exempt=VIEWS_ONLY),
    Case("mapl_inter_reconstructed(beta=0.3)", lambda w, l: inter(w, l, 0.3, "margins"), 2 * LN2),
    Case("mapl_inter_reconstructed(reading='pairs')", lambda w, l: inter(w, l, 0.1, "pairs"), 2 * LN2, exempt=VIEWS_ONLY),
    Case("mapl_reconstructed(a1=0.5, a2=0.2)",
         lambda w, l: oracle.dpo(w, l, 0.1) + 0.5 * intra(w, l, 0.1) + 0.2 * inter(w, l, 0.1, "margins"), 1.9 * LN2),
]  # fmt: skip
