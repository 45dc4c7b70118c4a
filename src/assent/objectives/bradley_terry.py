"""The loss of reward models: Bradley and Terry's likelihood of an order, as in WorldPM.  arXiv:2505.10527."""

from __future__ import annotations

from dataclasses import dataclass

from assent.objectives.base import PairwiseObjective
from assent.objectives.parts import Need, State
from assent.objectives.primitives import logistic
from assent.objectives.registry import explain_foreign, register
from assent.scores import PairScores
from assent.shapes import PerPair


@register
@dataclass(frozen=True)
class BradleyTerry(PairwiseObjective):
    r"""-log sigmoid(r_w - r_l), r = the score that a reward model gives a completion (column "reward"), in nats.

    No log-probability and no reference is read: what is trained is a reward model.
    Equal rewards give ln 2.  d loss / d r_w = -sigmoid(-(r_w - r_l)), and its negative for r_l; adding the same number to both
    changes nothing.  loss(h) - loss(-h) = -h, h = r_w - r_l.
    """

    name = "bradley_terry"
    paper, equation = "2505.10527", "L_BT"

    @property
    def needs(self) -> frozenset[Need]:
        return frozenset({Need("reward")})

    def ordered(self, scores: PairScores, state: State) -> PerPair:
        return logistic(self.induced_logit(scores, state))

    def induced_logit(self, scores: PairScores, state: State) -> PerPair:
        chosen, rejected = self.rewards(scores)
        return chosen - rejected

    def rewards(self, scores: PairScores) -> tuple[PerPair, PerPair]:
        chosen, rejected = (side.column("reward").to(side.logp) for side in (scores.chosen, scores.rejected))
        return chosen, rejected


explain_foreign(
    "bradley_terry", "beta", "the scale of a reward model's scores is learned; bradley_terry() has no field"
)
