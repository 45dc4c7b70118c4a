"""A coupled objective for tests: each pair is held against the mean of the whole step."""

from __future__ import annotations

from dataclasses import dataclass

from assent.objectives import Objective


@dataclass(frozen=True)
class Toy(Objective):
    """(d - m - 1)^2 + max(d) d / 100 - mean token log-probability / 20; d = scaled margin, m its mean over the step."""

    scale: float = 0.1
    name = "toy_coupled"
    couples = "step"

    def __call__(self, scores, state=None):
        d = self.scale * (scores.chosen.logp - scores.rejected.logp)
        weight = scores.weight if scores.weight is not None else scores.ones()
        mean = (weight * d).sum() / weight.sum()
        token = scores.chosen.tokens.logp.mean()
        return (d - mean - 1) ** 2 + 0.01 * d.max() * d - 0.05 * token

    def init(self, info):
        import torch

        return {"mean": torch.zeros((), dtype=torch.float64)}

    def sums(self, scores, state):
        d = (scores.chosen.logp - scores.rejected.logp).detach().double()
        weight = scores.weight.double()
        return {"sum": (weight * d).sum(), "count": weight.sum()}

    def update(self, state, sums):
        return {"mean": 0.5 * state["mean"] + 0.5 * sums["sum"] / sums["count"]}
