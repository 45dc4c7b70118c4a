"""LD-DPO: tokens beyond the shorter side's length count less.  Liu et al., arXiv:2409.06411."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from assent.objectives.base import PairwiseObjective
from assent.objectives.parts import REFERENCE, TOKENS, Need, State, require
from assent.objectives.primitives import logistic
from assent.objectives.registry import explain_foreign, register
from assent.objectives.token_sums import counted, leading, token_log_ratio, token_sum, token_values, tokens_of
from assent.scores import PairScores
from assent.shapes import PerPair


def within_shorter(scores: PairScores) -> tuple[Tensor, Tensor]:
    """1 for the first min(|w|, |l|) counted tokens of each side, 0 for those beyond ([T] of each side)."""
    return _weights(scores, 0.0)


def _weights(scores: PairScores, beyond: float) -> tuple[Tensor, Tensor]:
    """1 for the first min(|w|, |l|) counted tokens of each side, ``beyond`` for those after ([T] of each side)."""
    left, right = tokens_of(scores.chosen), tokens_of(scores.rejected)
    lengths = counted(left, len(scores)), counted(right, len(scores))
    shorter = torch.minimum(*lengths)
    return leading(left, shorter, lengths[0], beyond), leading(right, shorter, lengths[1], beyond)


@register
@dataclass(frozen=True)
class LDDPO(PairwiseObjective):
    r"""-log sigmoid(beta (r_w - r_l)), r = sum of token log-ratios, those beyond the first min(|w|, |l|) times alpha.

    beta: scale of the margin, nats per sequence.  alpha: weight of the excess tokens, in [0, 1]; 0.5 is suggested.
    alpha = 1, or equal lengths, is dpo; alpha = 0 ignores the tail.  reference: "weighted" treats the reference's tokens
    alike (TRL), "whole" sums all of them (LLaMA-Factory), where the margin at policy = reference is not 0; which of the
    two the paper means is not known.
    """

    beta: float = 0.1
    alpha: float = 0.5
    reference: str = "weighted"
    name = "ld_dpo"
    paper, equation = "2409.06411", "the length-desensitised loss"

    def __post_init__(self) -> None:
        require(0 < self.beta < float("inf"), self.name, "beta", self.beta, "a finite number above 0")
        require(0 <= self.alpha <= 1, self.name, "alpha", self.alpha, "a number in [0, 1]")
        require(
            self.reference in ("weighted", "whole"), self.name, "reference", self.reference, "'weighted' or 'whole'"
        )

    @property
    def needs(self) -> frozenset[Need]:
        return frozenset({REFERENCE, TOKENS})

    def rewards(self, scores: PairScores) -> tuple[PerPair, PerPair]:
        found = []
        for side, weight in zip((scores.chosen, scores.rejected), _weights(scores, self.alpha), strict=True):
            if self.reference == "weighted":
                values = weight * token_log_ratio(side)
            else:
                values = weight * tokens_of(side).logp - token_values(side, "ref_logp")
            found.append(self.beta * token_sum(side, values))
        return found[0], found[1]

    def induced_logit(self, scores: PairScores, state: State) -> PerPair:
        chosen, rejected = self.rewards(scores)
        return chosen - rejected

    def ordered(self, scores: PairScores, state: State) -> PerPair:
        return logistic(self.induced_logit(scores, state))


explain_foreign("ld_dpo", "ld_alpha", "the field is called alpha")
explain_foreign("dpo", "ld_alpha", "the length-desensitised loss has a name of its own: ld_dpo(beta, alpha)")
