"""f-DPO, from section 17 of the sheet of the standard losses; chi-squared from its definition."""

from __future__ import annotations

from math import exp, log

from case import Case
from oracle import nls

LINKS = {
    "forward_kl": lambda u: -1 / u,
    "js": lambda u: log(2 * u / (1 + u)),
    "chi_squared": lambda u: 2 * (u - 1),
    "chi_squared_kl": lambda u: u + log(u),
}


def f_dpo(w: dict, l: dict, beta: float, link) -> float:
    return nls(beta * (link(exp(w["logp"] - w["ref"])) - link(exp(l["logp"] - l["ref"]))))


def _case(kind: str, **more) -> Case:
    return Case(
        f"f_dpo(beta=0.3, divergence={kind!r})",
        lambda w, l: f_dpo(w, l, 0.3, LINKS[kind]),
        0.6931471805599453,
        **more,
    )


CASES = [
    *(_case(kind) for kind in LINKS),
    Case(
        "f_dpo(beta=0.3, divergence='alpha', alpha=0.5)",
        lambda w, l: f_dpo(w, l, 0.3, lambda u: (1 - u**-0.5) / 0.5),
        0.6931471805599453,
        limits=(
            ("f_dpo(beta=0.3, divergence='alpha', alpha=0.0)", "dpo(beta=0.3)"),
            ("f_dpo(beta=0.3, divergence='alpha', alpha=1.0)", "f_dpo(beta=0.3, divergence='forward_kl')"),
        ),
    ),
]
