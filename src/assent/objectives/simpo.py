"""SimPO: length-normalised, reference-free logistic loss with a margin.  Meng et al., arXiv:2405.14734, eq. 6."""

from __future__ import annotations

from dataclasses import dataclass

from assent.objectives.base import PairwiseObjective
from assent.objectives.parts import LENGTH, Need, State, require
from assent.objectives.primitives import logistic
from assent.objectives.registry import explain_foreign, register
from assent.scores import PairScores
from assent.shapes import PerPair


@register
@dataclass(frozen=True)
class SimPO(PairwiseObjective):
    r"""-log sigmoid(u - gamma), u = beta (mean token log-probability of the chosen minus that of the rejected).

    beta: scale of the reward, in 1 / (nats per token).  gamma: target margin in the units of u (not gamma / beta).
    Equal sides give log(1 + e^gamma); gamma = 0 makes the loss of the margin a plain logistic one.
    """

    beta: float = 2.0
    gamma: float = 0.5
    name = "simpo"
    paper, equation = "2405.14734", "6"

    def __post_init__(self) -> None:
        require(0 < self.beta < float("inf"), "simpo", "beta", self.beta, "a finite number above 0")
        require(0 <= self.gamma < float("inf"), "simpo", "gamma", self.gamma, "a finite number, 0 or more")

    @property
    def needs(self) -> frozenset[Need]:
        return frozenset({LENGTH})

    def rewards(self, scores: PairScores) -> tuple[PerPair, PerPair]:
        chosen, rejected = scores.chosen, scores.rejected
        return self.beta * chosen.per_token(chosen.logp), self.beta * rejected.per_token(rejected.logp)

    def ordered(self, scores: PairScores, state: State) -> PerPair:
        chosen, rejected = self.rewards(scores)
        return logistic(chosen - rejected - self.gamma)


explain_foreign(
    "simpo",
    "gamma_beta_ratio",
    "gamma is the margin itself here: write gamma = ratio * beta, such as simpo(beta=2.0, gamma=0.5)",
)
explain_foreign("simpo", "simpo_gamma", "the field is called gamma; the extra SFT term of that tool is written + sft()")
explain_foreign("simpo", "cpo_alpha", "SimPO has no SFT term; write simpo(...) + alpha*sft()")
