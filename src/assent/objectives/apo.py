"""APO: anchored losses that move the two sides apart.  D'Oosterlinck et al., arXiv:2408.06266, eq. 7 and 8."""

from __future__ import annotations

from dataclasses import dataclass

from torch import sigmoid

from assent.objectives.kinds import LabelledObjective, RewardObjective
from assent.objectives.parts import REFERENCE, Need, State, require
from assent.objectives.registry import register
from assent.scores import PairScores, Scores
from assent.shapes import PerCompletion, PerPair


@register
@dataclass(frozen=True)
class APOZero(RewardObjective):
    r"""1 - sigmoid(r_w) + sigmoid(r_l), r = beta (log-ratio), nats per sequence: chosen up, rejected down.

    beta: as in dpo().  For data that are better than the policy.  The paper has no constant 1.
    At policy = reference the loss is 1 and its gradient in (r_w, r_l) is (-1/4, 1/4).  It lies in (0, 2).
    """

    beta: float = 0.1
    name = "apo_zero"
    paper, equation = "2408.06266", "7"

    def ordered(self, scores: PairScores, state: State) -> PerPair:
        chosen, rejected = self.rewards(scores)
        return sigmoid(-chosen) + sigmoid(rejected)


@register
@dataclass(frozen=True)
class APOZeroUnpaired(LabelledObjective):
    r"""1 - sigmoid(r) for a liked completion, sigmoid(r) for a disliked one, r = beta (log-ratio), nats per sequence.

    beta: as in dpo().  The two sides of apo_zero(beta) as rows of their own; kto() with its common point held at 0.
    At policy = reference the loss is 1/2 and its gradient in r is -1/4 or 1/4.
    """

    beta: float = 0.1
    name = "apo_zero_unpaired"
    paper, equation = "2408.06266", "7"

    def __post_init__(self) -> None:
        require(0 < self.beta < float("inf"), self.name, "beta", self.beta, "a finite number above 0")

    @property
    def needs(self) -> frozenset[Need]:
        return frozenset({REFERENCE})

    def sided(self, scores: Scores, state: State) -> tuple[PerCompletion, PerCompletion]:
        reward = self.beta * scores.log_ratio
        return sigmoid(-reward), sigmoid(reward)


@register
@dataclass(frozen=True)
class APODown(RewardObjective):
    r"""sigmoid(r_w) + 1 - sigmoid(r_w - r_l), r = beta (log-ratio), nats per sequence: both down, rejected more.

    beta: as in dpo().  For data that are worse than the policy.  The paper has no constant 1.
    At policy = reference the loss is 1 and its gradient in (r_w, r_l) is (0, 1/4).  It lies in (0, 2).
    """

    beta: float = 0.1
    name = "apo_down"
    paper, equation = "2408.06266", "8"

    def ordered(self, scores: PairScores, state: State) -> PerPair:
        return sigmoid(self.beta * scores.chosen.log_ratio) + sigmoid(-self.margin(scores))
