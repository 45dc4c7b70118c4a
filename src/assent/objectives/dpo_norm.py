"""DPO with log-ratios per token, and DPO on single steps.  Lambert et al. (Tulu 3), arXiv:2411.15124."""

from __future__ import annotations

from dataclasses import dataclass

from assent.objectives.dpo import DPO
from assent.objectives.kinds import RewardObjective
from assent.objectives.parts import LENGTH, Need, State
from assent.objectives.primitives import logistic
from assent.objectives.registry import alias, register
from assent.scores import PairScores
from assent.shapes import PerPair


@register
@dataclass(frozen=True)
class DPONorm(RewardObjective):
    r"""-log sigmoid(beta (x_w / |w| - x_l / |l|)), x the log-ratios in nats per sequence, |y| the counted tokens.

    beta: in 1 / (nats per token), so much larger than that of dpo(); 5 in Tulu 3.
    Two completions of n tokens give dpo(beta / n); repeating every token changes nothing.
    """

    beta: float = 5.0
    name = "dpo_norm"
    paper = "2411.15124"

    @property
    def needs(self) -> frozenset[Need]:
        return super().needs | {LENGTH}

    def rewards(self, scores: PairScores) -> tuple[PerPair, PerPair]:
        chosen, rejected = scores.chosen, scores.rejected
        return self.beta * chosen.per_token(chosen.log_ratio), self.beta * rejected.per_token(rejected.log_ratio)

    def margin(self, scores: PairScores) -> PerPair:
        chosen, rejected = self.rewards(scores)
        return chosen - rejected

    def ordered(self, scores: PairScores, state: State) -> PerPair:
        return logistic(self.margin(scores))

    def induced_logit(self, scores: PairScores, state: State) -> PerPair:
        return self.margin(scores)


@alias
def step_dpo(beta: float = 0.4) -> DPO:
    """Step-DPO, arXiv:2406.18629: ``dpo(beta)`` on rows whose prompt ends with the correct steps so far.

    The completions are the next step, right and wrong; beta is that of the authors' command for their largest model.
    """
    return DPO(beta)
