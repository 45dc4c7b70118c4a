"""DPO with a scaled reference: how much the reference's own ranking counts.  Chen et al., arXiv:2405.19534, eq. 4."""

from __future__ import annotations

from dataclasses import dataclass

from assent.objectives.base import PairwiseObjective
from assent.objectives.parts import REFERENCE, Need, State, require
from assent.objectives.primitives import logistic
from assent.objectives.registry import explain_foreign, register
from assent.scores import PairScores
from assent.shapes import PerPair


@register
@dataclass(frozen=True)
class GammaDPO(PairwiseObjective):
    r"""-log sigmoid(beta (a + gamma c)), a = log p(w) / p(l) of the policy, c = log r(l) / r(w) of the reference, nats.

    beta: scale of the margin.  gamma: weight of the reference, tried from 0 to 2; gamma = 1 is dpo, 0 reference-free.
    Where policy = reference the loss is log(1 + exp(beta (1 - gamma) c)).
    """

    beta: float = 0.1
    gamma: float = 0.5
    name = "gamma_dpo"
    paper, equation = "2405.19534", "4"

    def __post_init__(self) -> None:
        require(0 < self.beta < float("inf"), self.name, "beta", self.beta, "a finite number above 0")
        require(0 <= self.gamma < float("inf"), self.name, "gamma", self.gamma, "a finite number, 0 or more")

    @property
    def needs(self) -> frozenset[Need]:
        return frozenset({REFERENCE})

    def rewards(self, scores: PairScores) -> tuple[PerPair, PerPair]:
        # the log-ratio first: it says by name that a reference is missing
        sides = (scores.chosen, scores.rejected)
        chosen, rejected = (self.beta * (s.log_ratio + (1 - self.gamma) * s.ref_logp) for s in sides)
        return chosen, rejected

    def induced_logit(self, scores: PairScores, state: State) -> PerPair:
        chosen, rejected = self.rewards(scores)
        return chosen - rejected

    def ordered(self, scores: PairScores, state: State) -> PerPair:
        return logistic(self.induced_logit(scores, state))


explain_foreign(
    "gamma_dpo", "alpha", "the paper's symbol is gamma, and so is the field; the authors' code calls it alpha"
)
