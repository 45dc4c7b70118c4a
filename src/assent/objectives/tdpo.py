"""TDPO: DPO with the difference of the two sides' sequential KL divergences.  Zeng et al., arXiv:2404.11999."""

from __future__ import annotations

from dataclasses import dataclass

from assent.objectives.base import PairwiseObjective
from assent.objectives.parts import REFERENCE, TOKENS, Need, State, require
from assent.objectives.primitives import logistic
from assent.objectives.registry import explain_foreign, register
from assent.objectives.token_sums import token_sum, token_values
from assent.scores import PairScores, Scores
from assent.shapes import PerCompletion, PerPair

_NEEDS = frozenset({REFERENCE, TOKENS, Need("kl_ref")})


def sequential_kl(side: Scores) -> PerCompletion:
    """K(y) = sum over tokens of KL(reference || policy) of the next-token distributions [C], nats per sequence; >= 0."""
    return token_sum(side, token_values(side, "kl_ref"))


@register
@dataclass(frozen=True)
class TDPO1(PairwiseObjective):
    r"""-log sigmoid(beta [h - (K_l - K_w)]), h the log-ratio gap, K the sequential KL of a side, nats per sequence.

    beta: scale of the margin.  Gradient flows through both K.  ln 2 where policy = reference, as K = 0 there.
    """

    beta: float = 0.1
    name = "tdpo1"
    paper, equation = "2404.11999", "the TDPO1 loss"

    def __post_init__(self) -> None:
        require(0 < self.beta < float("inf"), self.name, "beta", self.beta, "a finite number above 0")

    @property
    def needs(self) -> frozenset[Need]:
        return _NEEDS

    def ordered(self, scores: PairScores, state: State) -> PerPair:
        return logistic(self.induced_logit(scores, state))

    def induced_logit(self, scores: PairScores, state: State) -> PerPair:
        kl_gap = sequential_kl(scores.rejected) - sequential_kl(scores.chosen)
        return self.beta * (scores.log_ratio_gap - kl_gap)

    def rewards(self, scores: PairScores) -> tuple[PerPair, PerPair]:
        return tuple(self.beta * (side.log_ratio + sequential_kl(side)) for side in (scores.chosen, scores.rejected))


@register
@dataclass(frozen=True)
class TDPO2(PairwiseObjective):
    r"""-log sigmoid(beta [h - alpha (K_l - stop(K_w))]): the KL of the chosen side is held constant.

    beta: scale of the margin.  alpha: weight of the KL difference, 0.5 in the authors' code.  alpha = 0 is dpo; alpha = 1
    has the value of tdpo1 and another gradient.
    """

    beta: float = 0.1
    alpha: float = 0.5
    name = "tdpo2"
    paper, equation = "2404.11999", "the TDPO2 loss"

    def __post_init__(self) -> None:
        require(0 < self.beta < float("inf"), self.name, "beta", self.beta, "a finite number above 0")
        require(0 <= self.alpha < float("inf"), self.name, "alpha", self.alpha, "a finite number, 0 or more")

    @property
    def needs(self) -> frozenset[Need]:
        return _NEEDS

    def ordered(self, scores: PairScores, state: State) -> PerPair:
        kl_gap = sequential_kl(scores.rejected) - sequential_kl(scores.chosen).detach()
        return logistic(self.beta * (scores.log_ratio_gap - self.alpha * kl_gap))

    def rewards(self, scores: PairScores) -> tuple[PerPair, PerPair]:
        sides = (scores.chosen, scores.rejected)
        return tuple(self.beta * (side.log_ratio + self.alpha * sequential_kl(side)) for side in sides)


explain_foreign("tdpo1", "alpha", "tdpo1 has no weight of the KL difference; write tdpo2(beta, alpha)")
explain_foreign("tdpo2", "if_tdpo2", "the two losses have names of their own: tdpo1(beta) and tdpo2(beta, alpha)")
