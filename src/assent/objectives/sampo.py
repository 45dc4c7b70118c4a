"""SamPO: DPO on as many tokens of either side, drawn at random.  Lu et al., arXiv:2406.10957."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from assent.objectives.base import PairwiseObjective
from assent.objectives.parts import REFERENCE, TOKENS, Need, RunInfo, State, require
from assent.objectives.primitives import logistic
from assent.objectives.registry import register
from assent.objectives.token_sums import among_smallest, counted, places, token_log_ratio, token_sum, tokens_of
from assent.scores import PairScores
from assent.shapes import PerPair

_GOLDEN = 0x9E3779B9
_MASK = 0xFFFFFFFF


def _mix(x: Tensor) -> Tensor:
    """A hash of 32 bits held in int64: xor-shifts and odd multiplications (the finaliser of MurmurHash3)."""
    x = (x ^ (x >> 16)) * 0x85EBCA6B & _MASK
    x = (x ^ (x >> 13)) * 0xC2B2AE35 & _MASK
    return x ^ (x >> 16)


def draws(*keys: Tensor, after: Tensor | None = None) -> Tensor:
    """A number of 32 bits for each tuple of int64 keys: the same wherever and whenever the keys are the same.

    after: the numbers of the keys before these, so that keys shared by many need mixing once.
    """
    x = torch.zeros_like(keys[-1]) if after is None else after
    for key in keys:
        x = _mix((x + (key & _MASK) + _GOLDEN) & _MASK)
    return x


@register
@dataclass(frozen=True)
class SamPO(PairwiseObjective):
    r"""-log sigmoid(beta (r_w - r_l)), r = sum of log-ratios of min(|w|, |l|) tokens drawn from each side, nats.

    All tokens of the shorter side are kept and as many of the longer one, without replacement, anew in every optimiser
    step; equal lengths give dpo.  beta: scale of the margin.  seed: of the draws.
    The draws are a hash of the seed, the step, the two lengths and the token's place, so that splits, ranks, resumed runs
    and swapped pairs draw alike; pairs of the same two lengths share them within a step.
    """

    beta: float = 0.1
    seed: int = 0
    name = "sampo"
    paper, equation = "2406.10957", "the down-sampled loss"

    def __post_init__(self) -> None:
        require(0 < self.beta < float("inf"), self.name, "beta", self.beta, "a finite number above 0")
        require(
            isinstance(self.seed, int) and self.seed >= 0, self.name, "seed", self.seed, "a whole number, 0 or more"
        )

    @property
    def needs(self) -> frozenset[Need]:
        return frozenset({REFERENCE, TOKENS})

    def init(self, info: RunInfo) -> State:
        return {"step": torch.zeros((), dtype=torch.int64)}

    def update(self, state: State, sums: Mapping[str, Tensor]) -> State:
        return {"step": state["step"] + 1}

    def kept(self, scores: PairScores, state: State) -> tuple[Tensor, Tensor]:
        """1 for the tokens of each side that are drawn in this step, 0 for the others ([T] of each side)."""
        sides = tokens_of(scores.chosen), tokens_of(scores.rejected)
        lengths = [counted(side, len(scores)) for side in sides]
        low, high = torch.minimum(*lengths), torch.maximum(*lengths)
        longer = [  # the shorter side is kept whole: no draws
            (own > low).index_select(0, side.row).nonzero().squeeze(1) for side, own in zip(sides, lengths, strict=True)
        ]
        # both sides at once, the rejected ones as completions P to 2 P - 1, so that what lies in order stays in order
        pair, index = (
            torch.cat([getattr(side, name).index_select(0, found) for side, found in zip(sides, longer, strict=True)])
            for name in ("row", "index")
        )
        row = torch.cat([pair[: len(longer[0])], pair[len(longer[0]) :] + len(scores)])
        at, seed = places(row, index), torch.tensor(self.seed, device=row.device)
        shared = draws(seed, state["step"].to(row.device), low, high)
        draw = draws(at, after=shared.index_select(0, pair))
        stays = among_smallest(draw, at, row, low.repeat(2)).to(sides[0].logp)
        chosen, rejected = (
            torch.ones_like(side.logp).index_copy(0, found, part)
            for side, found, part in zip(sides, longer, stays.split([len(found) for found in longer]), strict=True)
        )
        return chosen, rejected

    def ordered(self, scores: PairScores, state: State) -> PerPair:
        return logistic(self.induced_logit(scores, state))

    def induced_logit(self, scores: PairScores, state: State) -> PerPair:
        chosen, rejected = (
            token_sum(side, kept * token_log_ratio(side))
            for side, kept in zip((scores.chosen, scores.rejected), self.kept(scores, state), strict=True)
        )
        return self.beta * (chosen - rejected)

    def rewards(self, scores: PairScores) -> tuple[PerPair, PerPair]:
        return self.beta * scores.chosen.log_ratio, self.beta * scores.rejected.log_ratio
