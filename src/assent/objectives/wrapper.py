"""Wrappers: objectives made from an objective, such as ``smooth(dpo(), eps=0.1)``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from torch import Tensor

from assent.errors import AssentError
from assent.objectives.base import Objective, PairwiseObjective
from assent.objectives.parts import Need, RunInfo, State, scoped, within
from assent.scores import PairScores
from assent.shapes import PerPair


class Around(Objective):
    """What all objectives made from another one share: its field ``base``, and what they take over from it."""

    base: Objective

    def __post_init__(self) -> None:
        if not isinstance(self.base, PairwiseObjective):
            raise AssentError(
                f"{self.name}(...) was given {self.base!s}; expected a pairwise objective such as dpo(), "
                "and lcpo(...) only as the outermost wrapper"
            )
        if any(term.objective.mean_over == "token" for term in self.base.terms()):
            raise AssentError(
                f"{self.name}({self.base!s}) mixes a token mean of the whole step with a loss per pair; "
                "use sft(per='token') inside a wrapper"
            )

    @property
    def couples(self) -> Literal["no", "statistic", "step"]:
        return self.base.couples

    @property
    def needs(self) -> frozenset[Need]:
        return self.base.needs

    def children(self) -> tuple[Objective, ...]:
        return (self.base,)

    def rewards(self, scores: PairScores) -> tuple[PerPair, PerPair]:
        return self.base.rewards(scores)

    def init(self, info: RunInfo) -> State:
        return scoped("base", self.base.init(info))

    def sums(self, scores: PairScores, state: State) -> dict[str, Tensor]:
        return scoped("base", self.base.sums(scores, within(state, "base")))

    def update(self, state: State, sums: Mapping[str, Tensor]) -> State:
        return scoped("base", self.base.update(within(state, "base"), within(sums, "base")))


class Wrapper(Around, PairwiseObjective):
    """An objective of pairs made from another one, given by its loss for one order."""
