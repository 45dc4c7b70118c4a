"""GRAO's three terms as its equation 3 writes them, with statistics over samples and answer; the answer is the last."""

from __future__ import annotations

from case import Case


def grao(group: list[dict], beta: float, lam: float, floor: float | None = None) -> float:
    rewards = [c["score"] for c in group]
    mean = sum(rewards) / len(rewards)
    sd = (sum((r - mean) ** 2 for r in rewards) / len(rewards)) ** 0.5
    a = [(r - mean) / sd if sd > 0 else 0.0 for r in rewards]
    j = [c["logp"] / c["length"] for c in group]
    *samples, y = range(len(group))
    g = len(samples)
    if floor is not None:  # the collapsed form, the answer's advantage bounded
        own = (1 + lam) / g * sum(a[i] * j[i] for i in samples)
        return -own - (beta + lam / g) * max(a[y], floor) * j[y]
    return -sum(a[i] * j[i] + beta * a[y] * j[y] + lam * a[i] * (j[i] - j[y]) for i in samples) / g


CASES = [
    Case("grao(beta=0.5, lam=0.6)", lambda g: grao(g, 0.5, 0.6), 0.0, False, "groups"),
    Case("grao(beta=0.0, lam=0.0)", lambda g: grao(g, 0.0, 0.0), 0.0, False, "groups",
         exempt={"field beta": "half of 0", "field lam": "half of 0"}),
    Case("grao(beta=0.3, lam=0.2, floor=-0.1)", lambda g: grao(g, 0.3, 0.2, -0.1), 0.0, False, "groups"),
]  # fmt: skip
