"""The size of a token mask, to be added to a loss under that mask, and the sparse mask that keeps shared tokens out."""

from __future__ import annotations

from dataclasses import dataclass

from assent.objectives.base import PairwiseObjective
from assent.objectives.parts import TOKENS, Need, State, require
from assent.objectives.registry import register
from assent.objectives.token_sums import token_sum, token_values
from assent.scores import PairScores, Scores
from assent.shapes import PerCompletion, PerPair

LEARNED = ("mask", "mask_u", "mask_d")
"""Names of masks that a scorer learns; all others are token columns."""


def mask_need(name: str) -> Need:
    """What a scorer must provide for the mask ``name``: a learned mask, or a token column."""
    return Need("mask" if name in LEARNED else "token_column", name)


def mask_size(side: Scores, name: str) -> PerCompletion:
    """Sum of |mask| over the counted tokens [C]."""
    return token_sum(side, token_values(side, name).abs())


@register
@dataclass(frozen=True)
class MaskL1(PairwiseObjective):
    """||m(w)||_1 + ||m(l)||_1, summed over counted tokens; the same for both orders of a pair.

    tokens: "mask", "mask_u" or "mask_d" for a mask that the scorer learns, or the name of a token column.
    """

    tokens: str = "mask"
    name = "mask_l1"
    paper, equation = "2410.05102", "the L1 terms"

    def __post_init__(self) -> None:
        require(
            bool(self.tokens),
            self.name,
            "tokens",
            self.tokens,
            "'mask', 'mask_u', 'mask_d' or the name of a token column",
        )

    @property
    def needs(self) -> frozenset[Need]:
        return frozenset({TOKENS, mask_need(self.tokens)})

    def ordered(self, scores: PairScores, state: State) -> PerPair:
        return mask_size(scores.chosen, self.tokens) + mask_size(scores.rejected, self.tokens)
