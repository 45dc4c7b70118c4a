"""INPO, and IPO onto win rates, from the sheets of INPO and EGPO."""

from __future__ import annotations

import math

import oracle
from case import Case


def inpo(w: dict, l: dict, eta: float, tau: float) -> float:
    h = w["logp"] - l["logp"] - tau / eta * (w["ref"] - l["ref"]) - (eta - tau) / eta * (w["score"] - l["score"])
    return (h - 1 / (2 * eta)) ** 2


def rates(w: dict, l: dict, tau: float, token: bool = False) -> float:
    x, y = (c["logp"] - c["ref"] for c in (w, l))
    if token:
        x, y = x / w["length"], y / l["length"]
    return (x - y - (w["score"] - l["score"]) / tau) ** 2


def shares(group: list[dict], name: str) -> list[float]:
    top = max(c[name] for c in group)
    total = sum(math.exp(c[name] - top) for c in group)
    return [math.exp(c[name] - top) / total for c in group]


def forward_kl(group: list[dict], tau: float) -> float:
    pi, rho = shares(group, "logp"), shares(group, "ref")
    return sum(tau * q * math.log(q / p) - p * c["score"] for p, q, c in zip(pi, rho, group, strict=True))


def regret(group: list[dict], power: float) -> float:
    mean = sum(p * c["score"] for p, c in zip(shares(group, "logp"), group, strict=True))
    return (max(c["score"] for c in group) - mean) ** power


CASES = [
    Case(
        "anchored(ipo(tau=0.4, per='sequence'), share=0.25, column='score')",
        lambda w, l: inpo(w, l, 0.4, 0.1),
        1.5625,
        limits=(
            ("anchored(ipo(tau=0.4), share=1.0, column='score')", "ipo(tau=0.4)"),
            ("anchored(dpo(beta=0.3), share=1.0, column='score')", "dpo(beta=0.3)"),
        ),
    ),
    Case(
        "anchored(dpo(beta=0.3), share=0.5, column='score')",
        lambda w, l: oracle.dpo(*(c | {"ref": (c["ref"] + c["score"]) / 2} for c in (w, l)), 0.3),
        0.6931471805599453,
    ),
    Case("ipo_soft(tau=0.5, column='score')", lambda w, l: rates(w, l, 0.5), 0.0),
    Case("ipo_soft(tau=0.5, per='token', column='score')", lambda w, l: rates(w, l, 0.5, True), 0.0),
    Case("forward_kl(tau=0.5)", lambda g: forward_kl(g, 0.5), 0.0, rows="groups"),
    Case("regret(power=2.0)", lambda g: regret(g, 2.0), 0.0, rows="groups", reference=False),
]
