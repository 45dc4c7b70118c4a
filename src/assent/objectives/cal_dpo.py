"""Cal-DPO: DPO whose rewards are also held to a fixed size.  Xiao et al., arXiv:2412.14516."""

from __future__ import annotations

from dataclasses import dataclass

from assent.objectives.kinds import RewardObjective
from assent.objectives.parts import State, require
from assent.objectives.primitives import logistic, squared_error
from assent.objectives.registry import explain_foreign, register
from assent.scores import PairScores
from assent.shapes import PerPair


@register
@dataclass(frozen=True)
class CalDPO(RewardObjective):
    r"""-log sigmoid(h) + c [(x_w - 1/(2 beta))^2 + (x_l + 1/(2 beta))^2], x the log-ratios, h = x_w - x_l, in nats.

    beta: sets the targets of the log-ratios only; there is none in the logistic term.  .001 as in the authors' code.
    c: weight of the calibration; 1 (the paper as remembered, not read), .5 in the authors' code.
    Equal to dpo(beta=1) + c*sppo(beta); c = 0 is dpo(beta=1).
    """

    beta: float = 0.001
    c: float = 1.0
    name = "cal_dpo"
    paper = "2412.14516"

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 <= self.c < float("inf"), "cal_dpo", "c", self.c, "a finite number, 0 or more")

    def ordered(self, scores: PairScores, state: State) -> PerPair:
        target = 1 / (2 * self.beta)
        calibration = squared_error(scores.chosen.log_ratio, target) + squared_error(scores.rejected.log_ratio, -target)
        return logistic(scores.log_ratio_gap) + self.c * calibration

    def induced_logit(self, scores: PairScores, state: State) -> PerPair:
        return (1 + 2 * self.c / self.beta) * scores.log_ratio_gap  # the squares of the two orders cancel


explain_foreign("cal_dpo", "alpha", "the weight of the calibration is called c")
