"""Compiled formulas, from the truth tables of the sheet of the logic of direct alignment."""

from __future__ import annotations

from math import exp, log

from case import Case
from oracle import nls

EDGE = -1e-6


def log_not(x: float) -> float:
    """log(1 - e^x); beyond the documented bound its tangent."""
    c = min(x, EDGE)
    return log(1 - exp(c)) - (x - c) * exp(c) / (1 - exp(c))


def log_add(*x: float) -> float:
    return max(x) + log(sum(exp(y - max(x)) for y in x))


def means(w: dict, l: dict) -> tuple[float, float, float, float]:
    """Mean log-probabilities of chosen and rejected, of the policy and of the reference."""
    return w["logp"] / w["length"], l["logp"] / l["length"], w["ref"] / w["length"], l["ref"] / l["length"]


def ccpo(w: dict, l: dict) -> float:
    x, y, _, _ = means(w, l)
    return x - y - log_not(x)


def uncpo(w: dict, l: dict) -> float:
    """(w l + 1 - l) over l (1 - w), with w r_l and l r_w in their place: rows times the reference's."""
    x, y, u, v = means(w, l)
    return log_add(x + y, log_not(y)) - y - log_not(x) + v - u


def four(w: dict, l: dict) -> float:
    """(M_l and R_w) -> M_w: 1 - l r_w (1 - w) over l r_w (1 - w)."""
    x, y, u, _ = means(w, l)
    against = y + u + log_not(x)
    return log_add(x, log_not(x) + log_not(y), log_not(x) + y + log_not(u)) - against


def _far(w: dict, l: dict) -> float:
    """How far the mean log-probabilities lie below the bound."""
    return min(EDGE - x for x in means(w, l))


CASES = [
    Case(
        "logic('M_l -> M_w given one-true')",
        lambda w, l: nls(ccpo(w, l)),
        nls(-log(1 - exp(-2))),
        reference=False,
        limits=(
            ("logic('M_l -> M_w given one-true')", "logic('cCPO')"),
            ("logic('TT:check TF:check FT:cross')", "logic('ccx-')"),
            ("logic('ORPO') + sft(per='token')", "orpo(lam=1.0)"),
        ),
        kink=_far,
    ),
    Case(
        "logic('CPO', beta=0.3, reference=True, per='sequence')",
        lambda w, l: nls(0.3 * (w["logp"] - l["logp"] - w["ref"] + l["ref"])),
        log(2),
        limits=(
            ("logic('CPO', beta=0.3, reference=True, per='sequence')", "dpo(beta=0.3)"),
            ("logic('CPO', beta=0.3, per='sequence')", "cpo(beta=0.3, alpha=0.0)"),
            ("logic('CPO', beta=2.0)", "simpo(beta=2.0, gamma=0.0)"),
            ("logic('CPO', beta=0.2, reference=True, per='sequence', link='squared')", "ipo(tau=0.2)"),
        ),
    ),
    Case(
        "logic('unCPO', beta=2.0, reference=True, link='squared')",
        lambda w, l: (uncpo(w, l) - 0.25) ** 2,
        None,
        kink=_far,
    ),
    Case(
        "logic('(M_l & R_w) -> M_w', beta=4.0, link='hinge')",
        lambda w, l: max(0.0, 4 - four(w, l)),
        None,
        kink=lambda w, l: min(_far(w, l), abs(4 - four(w, l))),
    ),
]
