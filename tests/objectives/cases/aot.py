"""AOT, from section 12 of the sheet of the standard losses."""

from __future__ import annotations

from case import Case
from oracle import nls

LN2 = 0.6931471805599453


def _by_rank(high: list[float], low: list[float], beta: float) -> list[float]:
    """The loss of each row of ``high``: its partner is the one of equal rank in ``low``."""
    return [nls(beta * (h - sorted(low)[sorted(high).index(h)])) for h in high]


def aot(rows: list[tuple[dict, dict]], beta: float) -> list[float]:
    return _by_rank([w["logp"] - l["logp"] for w, l in rows], [w["ref"] - l["ref"] for w, l in rows], beta)


def aot_unpaired(rows: list[tuple[dict, dict]], beta: float) -> list[float]:
    return _by_rank([w["logp"] - w["ref"] for w, _ in rows], [l["logp"] - l["ref"] for _, l in rows], beta)


def smoothed(rows: list[tuple[dict, dict]], beta: float, eps: float) -> list[float]:
    u, v = [w["logp"] - l["logp"] for w, l in rows], [w["ref"] - l["ref"] for w, l in rows]
    gaps = [beta * (h - sorted(v)[sorted(u).index(h)]) for h in u]
    return [(1 - eps) * nls(g) + eps * nls(-g) for g in gaps]


CASES = [
    Case("aot(beta=0.4)", lambda rows: aot(rows, 0.4), LN2, coupled=True),
    Case("aot_unpaired(beta=0.4)", lambda rows: aot_unpaired(rows, 0.4), LN2, coupled=True),
    Case("smooth(aot(beta=0.4), eps=0.2)", lambda rows: smoothed(rows, 0.4, 0.2), LN2, coupled=True),
]
