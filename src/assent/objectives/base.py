"""The objective: a frozen dataclass of hyper-parameters that turns scores into one loss per row.  Contract, part 3."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from torch import Tensor

from assent.objectives.parts import Need, RunInfo, State
from assent.scores import PairScores, Scores
from assent.shapes import PerPair, PerRow


class Term(NamedTuple):
    """One additive part of an expression: its coefficient, its objective and the key of its state."""

    coefficient: float
    objective: Objective
    key: str


class Objective:
    """Base of all objectives.  Pure: no mean, no device move, no logging, no state of its own.

    Class facts: ``name`` (its one spelling), ``paper`` and ``equation``, ``data`` (kind of rows), ``mean_over``
    (what the step's mean divides by), ``couples`` (whether rows of a step depend on each other).
    """

    name: ClassVar[str]
    paper: ClassVar[str] = ""
    equation: ClassVar[str] = ""
    data: ClassVar[Literal["pairs", "completions", "labelled", "groups", "set"]] = "pairs"
    couples: Literal["no", "statistic", "step"] = "no"

    @property
    def mean_over(self) -> Literal["row", "token"]:
        """What the step's mean divides by: the sum of row weights, or of weighted counted tokens."""
        return "row"

    @property
    def needs(self) -> frozenset[Need]:
        """What a scorer must provide."""
        return frozenset()

    def __call__(self, scores: Any, state: State | None = None) -> PerRow:
        """One loss per row, [P] or [C], in nats where the loss is a log-likelihood."""
        raise TypeError(f"{type(self).__name__} is a base class; use one of the registered objectives")

    def init(self, info: RunInfo) -> State:
        """The state before the first step: a dict of tensors."""
        return {}

    def sums(self, scores: Any, state: State) -> dict[str, Tensor]:
        """Additive statistics of these rows, to be summed over micro-batches and ranks."""
        return {}

    def update(self, state: State, sums: Mapping[str, Tensor]) -> State:
        """The state after an optimiser step whose statistics were ``sums``."""
        return state

    def children(self) -> tuple[Objective, ...]:
        """The objectives directly inside this one."""
        return ()

    def terms(self) -> tuple[Term, ...]:
        """The additive parts that are reduced separately."""
        return (Term(1.0, self, ""),)

    def weights(self, scores: Any) -> PerRow:
        """Row weights, [P], [C] or [G]: what a row counts in the step's mean."""
        if isinstance(scores, Scores):
            weight, ones = scores.columns.get("weight"), torch.ones_like(scores.logp)
        else:
            weight, ones = scores.weight, scores.ones()
        return ones if weight is None else weight.to(ones)

    def counts(self, scores: Any) -> PerRow:
        """What each row adds to the denominator of the step's mean: its weight, or weight x tokens."""
        return self.weights(scores)

    def rewards(self, scores: PairScores) -> tuple[PerPair, PerPair]:
        """Implicit rewards of the two sides ([P], [P]) in nats, for logging and ranking."""
        return scores.chosen.logp, scores.rejected.logp

    def walk(self) -> tuple[Objective, ...]:
        """This objective and everything inside it, outermost first."""
        return (self, *(inner for child in self.children() for inner in child.walk()))

    def replace(self, **changes: Any) -> Objective:
        """A copy with some fields changed."""
        return replace(self, **changes)

    def shown_fields(self) -> dict[str, Any]:
        """The fields of the canonical spelling, in order."""
        return {f.name: getattr(self, f.name) for f in fields(self)}

    def __str__(self) -> str:
        shown = ", ".join(str(v) if isinstance(v, Objective) else f"{k}={v!r}" for k, v in self.shown_fields().items())
        return f"{self.name}({shown})"

    def __add__(self, other: Objective) -> Objective:
        from assent.objectives.algebra import Sum

        return Sum.of((1.0, self), (1.0, other)) if isinstance(other, Objective) else NotImplemented

    def __sub__(self, other: Objective) -> Objective:
        return self + -1.0 * other if isinstance(other, Objective) else NotImplemented

    def __mul__(self, factor: float) -> Objective:
        from assent.objectives.algebra import Sum

        return Sum.of((float(factor), self)) if isinstance(factor, int | float) else NotImplemented

    __rmul__ = __mul__


class PairwiseObjective(Objective):
    """An objective of pairs given by its loss for one order; soft targets mix the two orders."""

    def ordered(self, scores: PairScores, state: State) -> PerPair:
        """The loss [P] that takes the stored order as right."""
        raise TypeError(f"{type(self).__name__} defines no loss of an order")

    def induced_logit(self, scores: PairScores, state: State) -> PerPair:
        """loss(swapped) - loss(stored) [P]: the log-odds that this loss gives the stored order (2509.24159, eq. 2)."""
        return self.ordered(scores.swapped(), state) - self.ordered(scores, state)

    def __call__(self, scores: PairScores, state: State | None = None) -> PerPair:
        """p loss(stored) + (1 - p) loss(swapped) with p the data's target; [P]."""
        state = self.init(RunInfo()) if state is None else state
        stored = self.ordered(scores, state)
        if scores.target is None:
            return stored
        target = scores.target.to(stored)
        return target * stored + (1 - target) * self.ordered(scores.swapped(), state)
