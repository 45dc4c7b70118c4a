"""From one loss per row to the loss of an optimiser step, in one place.  Contract, part 4."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

from assent.objectives.base import Objective
from assent.objectives.parts import RunInfo, State, within
from assent.scores import GroupScores, PairScores, Scores


class Partial(NamedTuple):
    """One term over some rows: sum of weight x loss (carries grad) and what those rows add to the denominator."""

    coefficient: float
    numerator: Tensor
    denominator: Tensor


def partial_sums(objective: Objective, scores: PairScores | Scores | GroupScores, state: State) -> list[Partial]:
    """The terms' numerators and denominators over these rows; both are additive over micro-batches and ranks."""
    partials = []
    for coefficient, term, key in objective.terms():
        loss = term(scores, within(state, key))
        weighted = (term.weights(scores) * loss).sum()
        partials.append(Partial(coefficient, weighted, term.counts(scores).sum()))
    return partials


def combine(partials: Sequence[Partial], denominators: Sequence[Tensor] | None = None) -> Tensor:
    """The step's loss; ``denominators`` are those of the whole step when ``partials`` cover a part of it.

    A term whose denominator is 0 (all rows have weight 0) adds 0.
    """
    if denominators is None:
        denominators = [p.denominator for p in partials]
    total = 0.0
    for partial, denominator in zip(partials, denominators, strict=True):
        total = total + partial.coefficient * partial.numerator / denominator.clamp_min(1e-30)
    return total


def step_loss(objective: Objective, scores: PairScores | Scores | GroupScores, state: State | None = None) -> Tensor:
    """The scalar loss of a step whose rows are all here."""
    state = objective.init(RunInfo()) if state is None else state
    return combine(partial_sums(objective, scores, state))
