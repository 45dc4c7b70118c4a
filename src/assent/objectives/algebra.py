"""Sums and multiples of objectives: ``simpo() + 0.1*sft()``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from assent.errors import AssentError
from assent.objectives.base import Objective, PairwiseObjective, Term
from assent.objectives.parts import Need, RunInfo, State, scoped, within
from assent.scores import GroupScores, PairScores, Scores
from assent.shapes import PerPair, PerRow

_KINDS = {"pairs", "completions"}


@dataclass(frozen=True)
class Sum(PairwiseObjective):
    """A weighted sum of objectives; the trainer reduces each term by its own mean.  Inside a wrapper it is one loss."""

    parts: tuple[tuple[float, Objective], ...]
    name = "sum"

    @staticmethod
    def of(*parts: tuple[float, Objective]) -> Sum:
        """The sum of the given multiples, nested sums opened."""
        flat: list[tuple[float, Objective]] = []
        for factor, part in parts:
            inner = part.parts if isinstance(part, Sum) else ((1.0, part),)
            flat.extend((factor * f, p) for f, p in inner)
        kinds = {part.data for _, part in flat}
        if len(kinds) > 1 and not kinds <= _KINDS:
            raise AssentError(f"{' and '.join(sorted(kinds))} cannot be added: one expression reads one kind of rows")
        for factor, part in flat:
            if not torch.isfinite(torch.tensor(factor)):
                raise AssentError(f"the coefficient of {part!s} is {factor}; expected a finite number")
        return Sum(tuple(flat))

    @property
    def data(self) -> str:
        kinds = {part.data for _, part in self.parts}
        return "pairs" if "pairs" in kinds else next(iter(kinds))

    @property
    def couples(self) -> str:
        order = ("no", "statistic", "step")
        return max((part.couples for _, part in self.parts), key=order.index)

    @property
    def needs(self) -> frozenset[Need]:
        return frozenset().union(*(part.needs for _, part in self.parts))

    def children(self) -> tuple[Objective, ...]:
        return tuple(part for _, part in self.parts)

    def terms(self) -> tuple[Term, ...]:
        return tuple(Term(factor, part, str(i)) for i, (factor, part) in enumerate(self.parts))

    def init(self, info: RunInfo) -> State:
        return {k: v for t in self.terms() for k, v in scoped(t.key, t.objective.init(info)).items()}

    def sums(self, scores: PairScores | Scores | GroupScores, state: State) -> dict[str, Tensor]:
        return {
            k: v for t in self.terms() for k, v in scoped(t.key, t.objective.sums(scores, within(state, t.key))).items()
        }

    def update(self, state: State, sums: Mapping[str, Tensor]) -> State:
        return {
            k: v
            for t in self.terms()
            for k, v in scoped(t.key, t.objective.update(within(state, t.key), within(sums, t.key))).items()
        }

    def ordered(self, scores: PairScores, state: State) -> PerPair:
        for _, part in self.parts:
            if not isinstance(part, PairwiseObjective):
                raise AssentError(f"{part!s} has no loss for a single order of a pair, so it cannot stand in a wrapper")
        return sum(t.coefficient * t.objective.ordered(scores, within(state, t.key)) for t in self.terms())

    def induced_logit(self, scores: PairScores, state: State) -> PerPair:
        return sum(t.coefficient * t.objective.induced_logit(scores, within(state, t.key)) for t in self.terms())

    def __call__(self, scores: PairScores | Scores | GroupScores, state: State | None = None) -> PerRow:
        state = self.init(RunInfo()) if state is None else state
        return sum(t.coefficient * t.objective(scores, within(state, t.key)) for t in self.terms())

    def rewards(self, scores: PairScores) -> tuple[PerPair, PerPair]:
        first = next((part for _, part in self.parts if part.data == "pairs"), self.parts[0][1])
        return first.rewards(scores)

    def __str__(self) -> str:
        text = ""
        for factor, part in self.parts:
            sign = (" - " if factor < 0 else " + ") if text else ("-" if factor < 0 else "")
            size = abs(factor)
            text += sign + (str(part) if size == 1.0 else f"{size!r}*{part}")
        return text
