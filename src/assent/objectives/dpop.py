"""DPO-Positive: DPO that also keeps the chosen completion likely.  Pal et al., arXiv:2402.13228."""

from __future__ import annotations

from dataclasses import dataclass

from torch.nn.functional import relu

from assent.objectives.kinds import RewardObjective
from assent.objectives.parts import State, require
from assent.objectives.primitives import logistic
from assent.objectives.registry import explain_foreign, register
from assent.scores import PairScores
from assent.shapes import PerPair


@register
@dataclass(frozen=True)
class DPOP(RewardObjective):
    r"""-log sigmoid(beta (h - lam max(0, -x_w))), h = x_w - x_l, x the log-ratio of a side, nats per sequence.

    beta: as in dpo(); .3 (the paper's as remembered, not read).  lam: weight of the penalty where the chosen completion
    fell below the reference; the paper tried 5, 50 and 500.
    lam = 0, or x_w >= 0, is dpo(beta).  At x_w = 0, where training starts, the penalty's subgradient is 0.
    """

    beta: float = 0.3
    lam: float = 50.0
    name = "dpop"
    paper = "2402.13228"

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 <= self.lam < float("inf"), "dpop", "lam", self.lam, "a finite number, 0 or more")

    def ordered(self, scores: PairScores, state: State) -> PerPair:
        return logistic(self.margin(scores) - self.beta * self.lam * relu(-scores.chosen.log_ratio))


explain_foreign("dpop", "dpop_lambda", "the field is called lam")
