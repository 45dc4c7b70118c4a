"""DPO: logistic loss on the implicit reward margin.  Rafailov et al., arXiv:2305.18290, eq. 7."""

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
class DPO(PairwiseObjective):
    r"""-log sigmoid(beta h), h = log-ratio of the chosen minus that of the rejected completion, nats per sequence.

    beta: inverse temperature of the KL constraint; larger stays closer to the reference.
    At policy = reference the loss is ln 2 and d loss / d h = -beta / 2.  loss(h) - loss(-h) = -beta h.
    """

    beta: float = 0.1
    name = "dpo"
    paper, equation = "2305.18290", "7"

    def __post_init__(self) -> None:
        require(0 < self.beta < float("inf"), "dpo", "beta", self.beta, "a finite number above 0")

    @property
    def needs(self) -> frozenset[Need]:
        return frozenset({REFERENCE})

    def ordered(self, scores: PairScores, state: State) -> PerPair:
        return logistic(self.beta * scores.log_ratio_gap)

    def induced_logit(self, scores: PairScores, state: State) -> PerPair:
        return self.beta * scores.log_ratio_gap

    def rewards(self, scores: PairScores) -> tuple[PerPair, PerPair]:
        return self.beta * scores.chosen.log_ratio, self.beta * scores.rejected.log_ratio


explain_foreign(
    "dpo",
    "label_smoothing",
    "label_smoothing is cDPO in some tools and rDPO in others; write cdpo(beta, eps) for the smoothed loss "
    "or rdpo(beta, eps) for the unbiased one",
)
explain_foreign("dpo", "loss_type", "each loss has a name of its own here, such as ipo(), simpo(), cpo()")
