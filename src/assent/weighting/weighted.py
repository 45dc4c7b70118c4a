"""A weight for each pair, taken from a column of the data."""

from __future__ import annotations

from dataclasses import dataclass

from assent.errors import AssentError
from assent.objectives.parts import Need, State, within
from assent.objectives.registry import register
from assent.objectives.wrapper import Wrapper
from assent.scores import PairScores
from assent.shapes import PerPair


@register
@dataclass(frozen=True)
class Weighted(Wrapper):
    """L times the pair's value in ``column``; part of the loss, not renormalised (row weights, column weight, are).

    column: name of a numeric column of the data; the two orders of a pair share its value.
    """

    base: Objective
    column: str
    name = "weighted"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.column, str) or not self.column:
            raise AssentError(f"weighted: column is {self.column!r}; expected the name of a numeric column of the data")

    @property
    def needs(self) -> frozenset[Need]:
        return self.base.needs | {Need("column", self.column)}

    def ordered(self, scores: PairScores, state: State) -> PerPair:
        loss = self.base.ordered(scores, within(state, "base"))
        return scores.column(self.column).to(loss) * loss
