"""iREPO: the gap of implicit rewards regressed onto the logit of an empirical preference.  arXiv:2405.15230, reconstructed."""

from __future__ import annotations

from dataclasses import dataclass
from math import log

import torch

from assent.objectives.kinds import RewardObjective
from assent.objectives.parts import State, require
from assent.objectives.primitives import squared_error
from assent.objectives.registry import explain_foreign, register
from assent.scores import PairScores
from assent.shapes import PerPair


@register
@dataclass(frozen=True)
class IREPO(RewardObjective):
    r"""(beta h - logit p)^2, h = chosen minus rejected log-ratio in nats per sequence, p the data's target without gradient.

    p is the share of votes for the stored order, or a judge's probability, clipped to [eps, 1 - eps]; with V votes eps about
    .5/V.  Not linear in p, so it is not the mixture of two orders: p = 1/2 asks for h = 0, a certain label for logit(1 - eps).
    Swapping a pair with its p changes nothing.  logit p = 1/2 is beta^2 ipo(tau=beta); next to its zero it is soft dpo(beta)
    times 2 / (p (1 - p)).  The paper's formula was not seen: this is its abstract's, a mean of squares; beta is [not found].
    """

    beta: float = 0.1
    eps: float = 0.05
    name = "irepo_reconstructed"
    paper = "2405.15230"

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 < self.eps < 0.5, self.name, "eps", self.eps, "a number between 0 and 1/2")

    def ordered(self, scores: PairScores, state: State) -> PerPair:
        return squared_error(self.margin(scores), log((1 - self.eps) / self.eps))

    def __call__(self, scores: PairScores, state: State | None = None) -> PerPair:
        if scores.target is None:
            return self.ordered(scores, state or {})
        margin = self.margin(scores)
        p = scores.target.to(margin).clamp(self.eps, 1 - self.eps)
        return squared_error(margin, torch.logit(p))


explain_foreign("irepo_reconstructed", "alpha", "the scale of implicit rewards is called beta, as in dpo()")
