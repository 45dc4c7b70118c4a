"""GRPO and RLOO from their papers' formulas, in plain float64."""

from __future__ import annotations

from math import exp

from case import Case


def _advantages(group: list[dict], spread: bool) -> list[float]:
    rewards = [c["score"] for c in group]
    mean = sum(rewards) / len(rewards)
    sd = (sum((r - mean) ** 2 for r in rewards) / len(rewards)) ** 0.5
    return [(r - mean) / sd if spread and sd > 0 else r - mean for r in rewards]


def grpo(group: list[dict], clip: float, beta: float, spread: bool = True, mean: bool = True) -> float:
    total = 0.0
    for c, a in zip(group, _advantages(group, spread), strict=True):
        loss = 0.0
        for t in c["tokens"]:
            rho = exp(t["logp"] - t["reward"])
            x = t["ref"] - t["logp"]
            loss += -min(rho * a, min(max(rho, 1 - clip), 1 + clip) * a) + beta * (exp(x) - 1 - x)
        total += loss / c["length"] if mean else loss
    return total / len(group)


def rloo(group: list[dict], beta: float, clip: float | None = None) -> float:
    old = [sum(t["reward"] for t in c["tokens"]) for c in group]
    rewards = [c["score"] - beta * (o - c["ref"]) for c, o in zip(group, old, strict=True)]
    total, n = 0.0, len(group)
    for i, c in enumerate(group):
        a = rewards[i] - sum(r for j, r in enumerate(rewards) if j != i) / (n - 1)
        rho = exp(c["logp"] - old[i])
        gain = rho * a
        if clip is not None:
            gain = min(gain, min(max(rho, 1 - clip), 1 + clip) * a)
        total -= gain / n
    return total


CASES = [
    Case("grpo(clip=0.2, beta=0.1, old='reward')", lambda g: grpo(g, 0.2, 0.1), 0.0, rows="groups"),
    Case(
        "grpo(clip=0.5, beta=0.0, scale='none', length='sum', old='reward')",
        lambda g: grpo(g, 0.5, 0.0, spread=False, mean=False), 0.0, False, "groups",
        exempt={"field beta": "half of 0"},
    ),
    Case("rloo(beta=0.1, old='reward')", lambda g: rloo(g, 0.1), 0.0, rows="groups"),
    Case("rloo(beta=0.2, clip=0.3, old='reward')", lambda g: rloo(g, 0.2, 0.3), 0.0, rows="groups"),
]  # fmt: skip
