"""How wrong the reference ranks a pair, as a weight, a filter and a curriculum.  Chen et al., arXiv:2405.19534, thm 4.1."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from assent.objectives.base import Objective
from assent.objectives.parts import REFERENCE, Need, RunInfo, State, require, scoped, within
from assent.objectives.registry import register
from assent.objectives.wrapper import Wrapper
from assent.scores import PairScores
from assent.shapes import PerPair


def difficulty(scores: PairScores) -> PerPair:
    """c = log r(l) / r(w) of the reference r [P], nats per sequence; above 0 it ranks the pair wrongly."""
    scores.log_ratio_gap  # noqa: B018 - says by name that a reference is missing
    return scores.rejected.ref_logp - scores.chosen.ref_logp


class _ByDifficulty(Wrapper):
    """A base loss times a factor of the difficulty of the order that it takes as right."""

    @property
    def needs(self) -> frozenset[Need]:
        return self.base.needs | {REFERENCE}

    def factor(self, scores: PairScores, state: State) -> PerPair:
        raise TypeError(f"{type(self).__name__} defines no factor")

    def ordered(self, scores: PairScores, state: State) -> PerPair:
        return self.factor(scores, state) * self.base.ordered(scores, within(state, "base"))

    def induced_logit(self, scores: PairScores, state: State) -> PerPair:
        # inside lcpo the factor belongs to the stored order: 0 leaves the pair out
        return self.factor(scores, state) * self.base.induced_logit(scores, within(state, "base"))


@register
@dataclass(frozen=True)
class DifficultyWeight(_ByDifficulty):
    """sigmoid(-c / scale) L: pairs that the reference ranks wrongly by much count less; 1/2 where it is undecided.

    scale: nats of c.  The paper gives the score c and no weight: this form is Assent's.  Not renormalised.
    """

    base: Objective
    scale: float = 10.0
    name = "difficulty_weight"
    paper, equation = "2405.19534", "theorem 4.1 (the score)"

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 < self.scale < float("inf"), self.name, "scale", self.scale, "a finite number above 0")

    def factor(self, scores: PairScores, state: State) -> PerPair:
        return torch.sigmoid(-difficulty(scores) / self.scale)


@register
@dataclass(frozen=True)
class DifficultyFilter(_ByDifficulty):
    """L where c <= most, 0 elsewhere: pairs too hard to be turned are left out; they still count in the step's mean.

    most: largest c that is kept, in nats per sequence; 0 keeps what the reference ranks right.
    """

    base: Objective
    most: float = 0.0
    name = "difficulty_filter"
    paper, equation = "2405.19534", "theorem 4.1 (the score)"

    def __post_init__(self) -> None:
        super().__post_init__()
        require(abs(self.most) < float("inf"), self.name, "most", self.most, "a finite number")

    def factor(self, scores: PairScores, state: State) -> PerPair:
        return (difficulty(scores) <= self.most).to(scores.chosen.logp)


@register
@dataclass(frozen=True)
class DifficultyCurriculum(_ByDifficulty):
    """L where c <= start + pace x (optimiser steps so far), 0 elsewhere: easy pairs first.

    start: largest c of the first step, in nats per sequence.  pace: nats that it rises with each step; 0 is
    difficulty_filter(most=start).
    """

    base: Objective
    start: float = 0.0
    pace: float = 1.0
    name = "difficulty_curriculum"
    paper, equation = "2405.19534", "theorem 4.1 (the score)"

    def __post_init__(self) -> None:
        super().__post_init__()
        require(abs(self.start) < float("inf"), self.name, "start", self.start, "a finite number")
        require(0 <= self.pace < float("inf"), self.name, "pace", self.pace, "a finite number, 0 or more")

    def init(self, info: RunInfo) -> State:
        return {"step": torch.zeros((), dtype=torch.int64)} | scoped("base", self.base.init(info))

    def update(self, state: State, sums: Mapping[str, Tensor]) -> State:
        inner = self.base.update(within(state, "base"), within(sums, "base"))
        return {"step": state["step"] + 1} | scoped("base", inner)

    def factor(self, scores: PairScores, state: State) -> PerPair:
        hard = difficulty(scores)
        return (hard <= self.start + self.pace * state["step"].to(hard)).to(scores.chosen.logp)
