"""CoLoR: ORPO whose odds count more where the chosen side is shorter.  Seo et al., arXiv:2412.18232 (authors' code)."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from assent.objectives.base import PairwiseObjective
from assent.objectives.parts import LENGTH, Need, State, require
from assent.objectives.primitives import log_odds, logistic
from assent.objectives.registry import explain_foreign, register
from assent.scores import PairScores
from assent.shapes import PerPair


def length_factor(scores: PairScores, coefficient: float, most: float) -> PerPair:
    """m = max(1, coefficient (n_l - n_w)), at most ``most`` [P]; n in counted tokens, kink at a gap of 1 / coefficient."""
    gap = (scores.rejected.length - scores.chosen.length).to(scores.chosen.logp)
    return (coefficient * gap).clamp(1.0, most)


@register
@dataclass(frozen=True)
class CoLoR(PairwiseObjective):
    r"""NLL(w) - beta log sigmoid(m z), z = logit p(w) - logit p(l), log p(y) = mean token log-probability, in nats.

    m = max(1, coefficient (n_l - n_w)), lengths in tokens: an inverse temperature per pair, without gradient.  beta:
    weight of the odds term (2.5).  coefficient: 0.1 in the code; 0, or gaps of at most 1 / coefficient, is
    orpo(lam=beta).  most: upper end of m, 10 here; the code has none, and one long text then dominates.
    NLL is the mean over the chosen completion's tokens; the code counts the prompt's too.  p(w) = p(l): NLL + beta ln 2.
    The order is read by m, so loss(swapped) - loss(stored) is not linear in z.
    The paper's own equation was not found; this is the loss of its code.
    """

    beta: float = 2.5
    coefficient: float = 0.1
    most: float = 10.0
    name = "color"
    paper, equation = "2412.18232", "the loss of the released code"

    def __post_init__(self) -> None:
        require(0 <= self.beta < float("inf"), self.name, "beta", self.beta, "a finite number, 0 or more")
        require(
            0 <= self.coefficient < float("inf"),
            self.name,
            "coefficient",
            self.coefficient,
            "a finite number, 0 or more",
        )
        require(self.most >= 1, self.name, "most", self.most, "a number of at least 1")

    @property
    def needs(self) -> frozenset[Need]:
        return frozenset({LENGTH})

    def rewards(self, scores: PairScores) -> tuple[PerPair, PerPair]:
        chosen, rejected = (side.per_token(side.logp) for side in (scores.chosen, scores.rejected))
        return chosen, rejected

    def ordered(self, scores: PairScores, state: State) -> PerPair:
        chosen, rejected = self.rewards(scores)
        factor = length_factor(scores, self.coefficient, self.most)
        odds = log_odds(torch.stack([chosen, rejected]))
        return -chosen + self.beta * logistic(factor * (odds[0] - odds[1]))


explain_foreign(
    "color", "length_penalty", "the released code never reads it; the factor of the length gap is coefficient"
)
explain_foreign("color", "lam", "the weight of the odds term is called beta here, as in the released code")
