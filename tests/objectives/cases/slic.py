"""SLiC-HF and hinge-norm, from section 4 of the sheet of the standard losses."""

from __future__ import annotations

from case import Case


def slic(w: dict, l: dict, delta: float, lam: float) -> float:
    return max(0.0, delta - w["logp"] + l["logp"]) - lam * w["logp"]


def hinge(w: dict, l: dict, beta: float) -> float:
    return max(0.0, 1 - beta * ((w["logp"] - w["ref"]) - (l["logp"] - l["ref"])))


def _far(edge: float):
    """Distance of either order of a pair from the kink at log-probability margin ``edge``."""
    return lambda w, l: min(abs(edge - w["logp"] + l["logp"]), abs(edge + w["logp"] - l["logp"]))


def _far_ratio(edge: float):
    x = lambda c: c["logp"] - c["ref"]  # noqa: E731
    return lambda w, l: min(abs(edge - x(w) + x(l)), abs(edge + x(w) - x(l)))


CASES = [
    Case("slic()", lambda w, l: slic(w, l, 1.0, 0.1), 1.6, reference=False, kink=_far(1.0)),
    Case(
        "slic(delta=2.0, lam=0.0)",
        lambda w, l: slic(w, l, 2.0, 0.0),
        2.0,
        reference=False,
        kink=_far(2.0),
        limits=(("slic(lam=0.1)", "slic(lam=0.0) + 0.1*sft(per='sequence')"),),
        exempt={"field lam": "half of 0 is 0"},
    ),
    Case("hinge(beta=0.5)", lambda w, l: hinge(w, l, 0.5), 1.0, kink=_far_ratio(2.0)),
]
