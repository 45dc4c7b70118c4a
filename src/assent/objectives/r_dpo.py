"""R-DPO: DPO with a penalty on length in the reward.  Park et al., arXiv:2403.19159."""

from __future__ import annotations

from dataclasses import dataclass

from assent.errors import AssentError
from assent.objectives.kinds import RewardObjective
from assent.objectives.parts import LENGTH, Need, State, require
from assent.objectives.primitives import logistic
from assent.objectives.registry import explain_foreign, register
from assent.scores import PairScores
from assent.shapes import PerPair


@register
@dataclass(frozen=True)
class LengthDPO(RewardObjective):
    r"""-log sigmoid(beta h + alpha (|w| - |l|)), h = chosen minus rejected log-ratio, nats per sequence.

    beta: as in dpo().  alpha: price of a token in the reward, nats per token; .01 and .005 on dialogue, .2 to .5 on
    summaries.  Equal lengths, or alpha = 0, is dpo(beta).
    The sign is that of a reward r - alpha |y|: at policy = reference a longer chosen completion weighs less.  A table of
    a later paper prints a minus.  Not rdpo(), the unbiased loss under flipped labels.
    """

    beta: float = 0.1
    alpha: float = 0.01
    name = "r_dpo"
    paper = "2403.19159"

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 <= self.alpha < float("inf"), "r_dpo", "alpha", self.alpha, "a finite number, 0 or more")

    @property
    def needs(self) -> frozenset[Need]:
        return super().needs | {LENGTH}

    def _logit(self, scores: PairScores) -> PerPair:
        chosen, rejected = scores.chosen.length, scores.rejected.length
        if chosen is None or rejected is None:
            raise AssentError("r_dpo: the scores carry no length; score with lengths")
        margin = self.margin(scores)
        return margin + self.alpha * (chosen - rejected).to(margin)

    def ordered(self, scores: PairScores, state: State) -> PerPair:
        return logistic(self._logit(scores))

    def induced_logit(self, scores: PairScores, state: State) -> PerPair:
        return self._logit(scores)


explain_foreign("r_dpo", "eps", "r_dpo penalises length; the unbiased loss under flipped labels is rdpo(beta, eps)")
