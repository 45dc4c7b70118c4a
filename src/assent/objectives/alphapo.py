"""AlphaPO: SimPO with a reward that is a power of the probability.  Gupta et al., arXiv:2501.03884."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from assent.objectives.base import PairwiseObjective
from assent.objectives.parts import LENGTH, Need, State, require
from assent.objectives.primitives import box_cox, logistic
from assent.objectives.registry import explain_foreign, register
from assent.scores import PairScores
from assent.shapes import PerPair


@register
@dataclass(frozen=True)
class AlphaPO(PairwiseObjective):
    r"""-log sigmoid(r(w) - r(l) - gamma), r(y) = beta (1 - p^-alpha) / alpha, log p = mean token log-probability of y.

    beta: scale of the reward.  alpha: its shape; 0 is simpo(beta, gamma), above 0 unlikely completions weigh more.
    gamma: target margin in the units of r.  Defaults: the paper's for Mistral-Instruct.
    The power goes on as its tangent beyond e^68 in float32.
    """

    beta: float = 2.5
    alpha: float = 0.25
    gamma: float = 0.1
    name = "alphapo"
    paper = "2501.03884"

    def __post_init__(self) -> None:
        require(0 < self.beta < float("inf"), "alphapo", "beta", self.beta, "a finite number above 0")
        require(abs(self.alpha) < float("inf"), "alphapo", "alpha", self.alpha, "a finite number")
        require(0 <= self.gamma < float("inf"), "alphapo", "gamma", self.gamma, "a finite number, 0 or more")

    @property
    def needs(self) -> frozenset[Need]:
        return frozenset({LENGTH})

    def rewards(self, scores: PairScores) -> tuple[PerPair, PerPair]:
        means = torch.stack([side.per_token(side.logp) for side in (scores.chosen, scores.rejected)])
        chosen, rejected = self.beta * box_cox(means, -self.alpha)
        return chosen, rejected

    def ordered(self, scores: PairScores, state: State) -> PerPair:
        chosen, rejected = self.rewards(scores)
        return logistic(chosen - rejected - self.gamma)


explain_foreign("alphapo", "simpo_gamma", "the field is called gamma")
explain_foreign("alphapo", "cpo_alpha", "AlphaPO has no SFT term; write alphapo(...) + weight*sft()")
