"""SRPO, from its sheet; which sequence stands for which revision is in rows.py."""

from __future__ import annotations

from case import Case


def ratio(view: dict) -> float:
    return view["logp"] - view["ref"]


def srpo(w: dict, l: dict, beta: float, alpha: float) -> float:
    g = {"wl": w["better"], "lw": l["better"], "ww": w["worse"], "ll": l["worse"]}
    g = {name: ratio(view) for name, view in g.items()}
    rev = 0.5 * ((beta * (g["wl"] - g["ll"]) - 0.5) ** 2 + (beta * (g["ww"] - g["lw"]) - 0.5) ** 2)
    gen = (beta / 2 * (g["wl"] - g["lw"] + ratio(w) - ratio(l)) - 0.5) ** 2
    return (1 - alpha) * gen + alpha * rev


CASES = [
    Case("srpo(beta=0.3, alpha=0.4)", lambda w, l: srpo(w, l, 0.3, 0.4), 0.25),
    Case(
        "srpo(beta=0.3, alpha=0.0)", lambda w, l: srpo(w, l, 0.3, 0.0), 0.25, exempt={"field alpha": "half of 0 is 0"}
    ),
]
