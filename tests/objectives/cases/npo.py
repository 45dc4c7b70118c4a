"""Forgetting and retaining, from the sheet of NPO.  One row's loss; what it counts in the mean is in test_npo.py."""

from __future__ import annotations

from case import Case
from oracle import nls

LN2 = 0.6931471805599453


def npo(c: dict, beta: float) -> float:
    return 0.0 if c["label"] else -(2 / beta) * -nls(-beta * (c["logp"] - c["ref"]))


def simnpo(c: dict, beta: float, gamma: float) -> float:
    return 0.0 if c["label"] else (2 / beta) * nls(-(beta / c["length"]) * c["logp"] - gamma)


def ascent(c: dict) -> float:
    return 0.0 if c["label"] else c["logp"]


def retain(c: dict, per: str = "sum") -> float:
    return -c["logp"] / (c["length"] if per == "token" else 1) if c["label"] else 0.0


def retain_kl(c: dict) -> float:
    return sum(t["kl"] for t in c["tokens"]) if c["label"] else 0.0


CASES = [
    Case("npo(beta=0.2)", lambda c: npo(c, 0.2), 0.0, rows="labelled"),
    Case("simnpo(gamma=0.5)", lambda c: simnpo(c, 2.5, 0.5), 0.0, rows="labelled", reference=False),
    Case("gradient_ascent()", ascent, 0.0, rows="labelled", reference=False),
    Case("retain()", retain, 6.0, rows="labelled", reference=False),
    Case("retain(per='token')", lambda c: retain(c, "token"), 2.0, rows="labelled", reference=False),
    Case("retain(per='sequence')", retain, 6.0, rows="labelled", reference=False),
    Case(
        "retain_kl()",
        retain_kl,
        0.0,
        rows="labelled",
        reference=False,
        exempt={"huge margins": "it reads no log-ratio"},
    ),
    Case(
        "gradient_difference(retain=0.5)",
        lambda c: ascent(c) + 0.5 * retain(c),
        3.0,
        rows="labelled",
        reference=False,
        limits=(("gradient_difference(retain=0.5)", "gradient_ascent() + 0.5*retain()"),),
    ),
    Case("npo_retain(beta=0.2)", lambda c: npo(c, 0.2) + retain(c), 6.0, rows="labelled"),
    Case("npo_kl(beta=0.2, retain=2.0)", lambda c: npo(c, 0.2) + 2 * retain_kl(c), 0.0, rows="labelled"),
]
