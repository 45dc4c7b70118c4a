"""Flex-DPO and SFT-DPO, the two regularisers of 3D-Properties.  Yan et al., arXiv:2406.07327."""

from __future__ import annotations

from dataclasses import dataclass

from assent.objectives.base import Objective, PairwiseObjective
from assent.objectives.dpo import DPO
from assent.objectives.parts import REFERENCE, Need, State, require
from assent.objectives.primitives import logistic
from assent.objectives.registry import alias, explain_foreign, register
from assent.objectives.sft import SFT
from assent.scores import PairScores
from assent.shapes import PerPair


@register
@dataclass(frozen=True)
class FlexDPO(PairwiseObjective):
    r"""-log sigmoid(beta_pos r_w - beta_neg r_l), r = log-ratio of a side, nats per sequence.

    beta_pos, beta_neg: scales of the two sides; beta_neg below beta_pos keeps the chosen side from falling with the
    rejected one (.08 beside .1 was best; the .1 is inferred).  beta_neg = beta_pos is dpo; beta_neg = 0 ignores the
    rejected side.  ln 2 where policy = reference, slopes -beta_pos / 2 and beta_neg / 2.
    """

    beta_pos: float = 0.1
    beta_neg: float = 0.08
    name = "flex_dpo"
    paper, equation = "2406.07327", "the Flex-DPO loss"

    def __post_init__(self) -> None:
        require(0 < self.beta_pos < float("inf"), self.name, "beta_pos", self.beta_pos, "a finite number above 0")
        require(0 <= self.beta_neg < float("inf"), self.name, "beta_neg", self.beta_neg, "a finite number, 0 or more")

    @property
    def needs(self) -> frozenset[Need]:
        return frozenset({REFERENCE})

    def rewards(self, scores: PairScores) -> tuple[PerPair, PerPair]:
        return self.beta_pos * scores.chosen.log_ratio, self.beta_neg * scores.rejected.log_ratio

    def ordered(self, scores: PairScores, state: State) -> PerPair:
        chosen, rejected = self.rewards(scores)
        return logistic(chosen - rejected)


@alias
def sft_dpo(gamma: float, beta: float = 0.1) -> Objective:
    """SFT-DPO: ``dpo(beta) + gamma*sft(per='sequence')``.  The paper's gamma and reduction are not known, so gamma is asked."""
    require(0 < gamma < float("inf"), "sft_dpo", "gamma", gamma, "a finite number above 0")
    return DPO(beta) + gamma * SFT("sequence")


explain_foreign("flex_dpo", "beta", "the two sides have scales of their own: flex_dpo(beta_pos, beta_neg)")
