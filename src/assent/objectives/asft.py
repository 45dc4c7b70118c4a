"""ASFT: raise the chosen completion's probability and lower the rejected one's, each by itself.  arXiv:2409.10571."""

from __future__ import annotations

from dataclasses import dataclass

from assent.objectives.base import PairwiseObjective
from assent.objectives.parts import LENGTH, Need, State, require
from assent.objectives.primitives import log_complement, log_odds, logistic
from assent.objectives.registry import explain_foreign, register
from assent.scores import PairScores
from assent.shapes import PerPair


@register
@dataclass(frozen=True)
class ASFT(PairwiseObjective):
    r"""-nll log p(w) + lam [-log sigmoid(beta logit p(w)) - log sigmoid(-beta logit p(l))], p the mean token probability.

    log p(y) = log-probability of y over its length, nats per token (p is a geometric mean); no reference.
    lam: weight of the two aligning terms (lambda).  1 is the default of the public code; the paper's is [not found].
    nll, beta: 1 in the paper; other values are the tempered, two-stage form of arXiv:2502.01237 (its ce and b).
    At beta = 1 it is -(nll + lam) log p(w) - lam log(1 - p(l)); lam = 0, nll = 1 is sft().
    p = 1/2 on both sides gives (nll + 2 lam) ln 2.  Beyond log p = -1e-6 log(1 - p) goes on as its tangent.
    """

    lam: float = 1.0
    nll: float = 1.0
    beta: float = 1.0
    name = "asft"
    paper, equation = "2409.10571", "the ASFT loss"

    def __post_init__(self) -> None:
        require(0 <= self.lam < float("inf"), "asft", "lam", self.lam, "a finite number, 0 or more (lambda)")
        require(0 <= self.nll < float("inf"), "asft", "nll", self.nll, "a finite number, 0 or more")
        require(0 < self.beta < float("inf"), "asft", "beta", self.beta, "a finite number above 0")

    @property
    def needs(self) -> frozenset[Need]:
        return frozenset({LENGTH})

    def rewards(self, scores: PairScores) -> tuple[PerPair, PerPair]:
        chosen, rejected = scores.chosen, scores.rejected
        return chosen.per_token(chosen.logp), rejected.per_token(rejected.logp)

    def ordered(self, scores: PairScores, state: State) -> PerPair:
        chosen, rejected = self.rewards(scores)
        if self.beta == 1:  # log sigmoid(logit p) = log p: exact, and finite up to p = 1
            return -(self.nll + self.lam) * chosen - self.lam * log_complement(rejected)
        up, down = logistic(self.beta * log_odds(chosen)), logistic(-self.beta * log_odds(rejected))
        return -self.nll * chosen + self.lam * (up + down)


explain_foreign("asft", "asft_alpha", "that is Anchored SFT (arXiv:2509.23753), another method; the weight here is lam")
