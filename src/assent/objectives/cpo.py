"""CPO: reference-free logistic loss plus the likelihood of the chosen.  Xu et al., arXiv:2401.08417, eq. 5."""

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
class CPO(PairwiseObjective):
    r"""-log sigmoid(beta d) + alpha NLL(chosen), d = chosen minus rejected log-probability, nats per sequence.

    beta: scale of the margin.  alpha: weight of the likelihood term (0 leaves DPO under a uniform reference).
    nll: "sum" is the sequence's sum (the paper); "token" its mean over tokens (other tools).
    """

    beta: float = 0.1
    alpha: float = 1.0
    nll: str = "sum"
    name = "cpo"
    paper, equation = "2401.08417", "5"

    def __post_init__(self) -> None:
        require(0 < self.beta < float("inf"), "cpo", "beta", self.beta, "a finite number above 0")
        require(0 <= self.alpha < float("inf"), "cpo", "alpha", self.alpha, "a finite number, 0 or more")
        require(self.nll in ("sum", "token"), "cpo", "nll", self.nll, "'sum' or 'token'")

    @property
    def needs(self) -> frozenset[Need]:
        return frozenset() if self.nll == "sum" else frozenset({LENGTH})

    def ordered(self, scores: PairScores, state: State) -> PerPair:
        chosen = scores.chosen
        nll = -chosen.logp if self.nll == "sum" else -chosen.per_token(chosen.logp)
        return logistic(self.beta * (chosen.logp - scores.rejected.logp)) + self.alpha * nll

    def rewards(self, scores: PairScores) -> tuple[PerPair, PerPair]:
        return self.beta * scores.chosen.logp, self.beta * scores.rejected.logp


explain_foreign("cpo", "cpo_alpha", "the field is called alpha")
explain_foreign("cpo", "loss_type", "each loss has a name of its own here, such as simpo()")
