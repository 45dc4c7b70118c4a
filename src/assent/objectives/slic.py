"""Hinge losses of pairs: SLiC-HF, Zhao et al., arXiv:2305.10425, and RSO's hinge-norm, Liu et al., arXiv:2309.06657."""

from __future__ import annotations

from dataclasses import dataclass

from torch.nn.functional import relu

from assent.objectives.base import PairwiseObjective
from assent.objectives.kinds import RewardObjective
from assent.objectives.parts import State, require
from assent.objectives.registry import explain_foreign, register
from assent.scores import PairScores
from assent.shapes import PerPair


@register
@dataclass(frozen=True)
class SLiC(PairwiseObjective):
    r"""max(0, delta - d) - lam log p(chosen), d = chosen minus rejected log-probability, nats per sequence; no reference.

    delta: margin, in nats; 1 as in public code.  lam: weight of the likelihood, .1 as in public code.
    The regulariser's target is the chosen completion; for another one write slic(lam=0) + lam*sft(...) on that data.
    At d = delta, the kink, the hinge has no gradient.
    """

    delta: float = 1.0
    lam: float = 0.1
    name = "slic"
    paper = "2305.10425"

    def __post_init__(self) -> None:
        require(0 < self.delta < float("inf"), "slic", "delta", self.delta, "a finite number above 0")
        require(0 <= self.lam < float("inf"), "slic", "lam", self.lam, "a finite number, 0 or more")

    def ordered(self, scores: PairScores, state: State) -> PerPair:
        chosen = scores.chosen.logp
        return relu(self.delta - chosen + scores.rejected.logp) - self.lam * chosen


@register
@dataclass(frozen=True)
class Hinge(RewardObjective):
    r"""max(0, 1 - beta h), h = chosen minus rejected log-ratio, nats per sequence: RSO's hinge-norm.

    beta: the paper's gamma, 1 over the margin; .05 with RSO in other tools.
    At policy = reference the loss is 1; from beta h = 1 on it is 0 without gradient.
    """

    beta: float = 0.05
    name = "hinge"
    paper, equation = "2309.06657", "10"

    def ordered(self, scores: PairScores, state: State) -> PerPair:
        return relu(1 - self.margin(scores))


explain_foreign(
    "slic", "beta", "SLiC has no temperature: its margin is delta; RSO's hinge on log-ratios is hinge(beta)"
)
explain_foreign("hinge", "gamma", "the field is called beta, as in dpo()")
