"""Any pairwise loss on some of the tokens."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from assent.errors import AssentError
from assent.objectives.base import Objective
from assent.objectives.dpo import DPO
from assent.objectives.ld_dpo import within_shorter
from assent.objectives.mask_l1 import LEARNED, MaskL1, mask_need
from assent.objectives.parts import LENGTH, REFERENCE, TOKENS, Need, State, require, scoped, within
from assent.objectives.registry import alias, register
from assent.objectives.token_sums import token_sum, token_values, tokens_of
from assent.objectives.wrapper import Wrapper
from assent.scores import PairScores, Scores, Tokens
from assent.shapes import PerPair, PerToken

RULES = ("shorter", "differing")
"""Masks that follow from the pair itself: the first min(|w|, |l|) tokens, and tokens whose id the other side lacks."""

_SLOTS = 1 << 20


def differing(scores: PairScores) -> tuple[Tensor, Tensor]:
    """1 for the tokens of each side whose id (token column "id") does not occur in the other completion of the pair."""
    ids = [tokens_of(side).columns.get("id") for side in (scores.chosen, scores.rejected)]
    if any(found is None for found in ids):
        raise AssentError(
            "masked: tokens='differing' needs the token column 'id'; use a scorer that provides token ids"
        )
    left, right = tokens_of(scores.chosen), tokens_of(scores.rejected)
    width = max((int(found.max()) for found in ids if len(found)), default=0) + 1
    keys = [tokens.row * width + found.long() for tokens, found in zip((left, right), ids, strict=True)]
    slots = [_slots(key) for key in keys]
    # only tokens whose slot the other side marks can be shared: the search that sorts runs over those alone
    maybe = [
        torch.zeros(_SLOTS, dtype=torch.bool, device=own.device)
        .index_fill_(0, other, True)
        .index_select(0, own)
        .nonzero()
        for own, other in (slots, slots[::-1])
    ]
    at = [found.squeeze(1) for found in maybe]
    some = [key.index_select(0, found) for key, found in zip(keys, at, strict=True)]
    shared = torch.isin(some[0], some[1]), torch.isin(some[1], some[0])
    left_own, right_own = (
        torch.ones_like(tokens.logp, requires_grad=False).index_copy_(0, found, (~both).to(tokens.logp))
        for tokens, found, both in zip((left, right), at, shared, strict=True)
    )
    return left_own, right_own


def _slots(key: Tensor) -> Tensor:
    """A slot for every key (int64): equal keys share one, others seldom."""
    return (key * 0x9E3779B1).bitwise_right_shift_(12).bitwise_and_(_SLOTS - 1)


@register
@dataclass(frozen=True)
class Masked(Wrapper):
    """OBJ with every token's log-probabilities times its mask: sums, references and lengths are those of what is left.

    tokens: "mask", "mask_u" or "mask_d" for a mask that the scorer learns, the name of a token column with values in [0, 1],
    "shorter" for the first min(|w|, |l|) tokens of either side, or "differing" for tokens that the other side lacks.
    All ones is OBJ.  Tokens of mask 0 get no gradient.  A base that reads single tokens takes masks of 0 and 1 only.
    """

    base: Objective
    tokens: str
    name = "masked"

    def __post_init__(self) -> None:
        super().__post_init__()
        allowed = "'mask', 'shorter', 'differing' or the name of a token column"
        require(isinstance(self.tokens, str) and bool(self.tokens), self.name, "tokens", self.tokens, allowed)

    @property
    def needs(self) -> frozenset[Need]:
        own = {"shorter": frozenset(), "differing": frozenset({Need("token_column", "id")})}
        return self.base.needs | {TOKENS} | own.get(self.tokens, frozenset({mask_need(self.tokens)}))

    def masks(self, scores: PairScores) -> tuple[Tensor, Tensor]:
        """The mask of either side's tokens ([T] each)."""
        if self.tokens == "shorter":
            return within_shorter(scores)
        if self.tokens == "differing":
            return differing(scores)
        return token_values(scores.chosen, self.tokens), token_values(scores.rejected, self.tokens)

    @property
    def must_leave_a_token(self) -> bool:
        """Whether a completion that the mask empties is refused: where a length divides, or the mask is a data column."""
        return LENGTH in self.base.needs or self.tokens not in (*LEARNED, *RULES)

    def left(self, scores: PairScores) -> PairScores:
        """The scores of what the mask leaves."""
        chosen, rejected = self.masks(scores)
        return replace(scores, chosen=self._side(scores.chosen, chosen), rejected=self._side(scores.rejected, rejected))

    def _side(self, side: Scores, mask: PerToken) -> Scores:
        tokens = tokens_of(side)
        length = token_sum(side, mask) if self.must_leave_a_token else None  # nobody reads it otherwise
        if length is not None and not bool((length.detach() > 0).all()):
            row = int((length.detach() <= 0).nonzero()[0])
            raise AssentError(
                f"masked: the mask {self.tokens!r} leaves no token of completion {row} of the batch; expected one in each"
            )
        ref = mask * tokens.ref_logp if REFERENCE in self.base.needs and tokens.ref_logp is not None else None
        return replace(
            side,
            logp=token_sum(side, mask * tokens.logp),
            ref_logp=None if ref is None else token_sum(side, ref),
            length=length,
            tokens=self._kept(tokens, mask) if TOKENS in self.base.needs else tokens,
        )

    def _kept(self, tokens: Tokens, mask: PerToken) -> Tokens:
        kept = mask.detach() > 0
        if not bool((mask.detach()[kept] == 1).all()):
            raise AssentError(
                f"masked: {self.base!s} reads single tokens and the mask {self.tokens!r} has values between 0 and 1; "
                "expected 0 and 1 only, or a base of whole sequences"
            )
        names = ("row", "index", "logp", "ref_logp", "entropy", "sum_sq", "kl_ref", "mask")
        picked = {name: v[kept] for name in names if (v := getattr(tokens, name)) is not None}
        return Tokens(**picked, columns={name: v[kept] for name, v in tokens.columns.items()})

    def ordered(self, scores: PairScores, state: State) -> PerPair:
        return self.base.ordered(self.left(scores), within(state, "base"))

    def induced_logit(self, scores: PairScores, state: State) -> PerPair:
        return self.base.induced_logit(self.left(scores), within(state, "base"))

    def rewards(self, scores: PairScores) -> tuple[PerPair, PerPair]:
        return self.base.rewards(self.left(scores))

    def sums(self, scores: PairScores, state: State) -> dict[str, Tensor]:
        return scoped("base", self.base.sums(self.left(scores), within(state, "base")))


@alias
def sparse_masked_reconstructed(beta: float = 0.1, lam: float = 0.01) -> Objective:
    """DPO under a learned token mask with an L1 penalty, against entanglement: ``masked(dpo(beta), 'mask') + lam*mask_l1()``.

    2410.13828 names a sparsity-regularised token mask and its loss is not known: this is Assent's reading, lam too.
    """
    require(0 < lam < float("inf"), "sparse_masked_reconstructed", "lam", lam, "a finite number above 0")
    return Masked(DPO(beta), "mask") + lam * MaskL1("mask")
