"""One optimiser step's loss and gradients from its micro-batches, on any number of ranks.  Contract, part 4.

Every additive term is divided by the whole step's denominator, which the rows alone give, so that 1 x 8 = 8 x 1 = two ranks.
Objectives whose rows depend on each other go scores first: a pass without gradients collects the step's scores, the objective
gives d loss / d scores, and a second pass carries that gradient through the model micro-batch by micro-batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from assent.objectives import Objective, combine, partial_sums
from assent.training.gather import concatenate, first_rows, leaves, logp_of, on_ranks, pad_rows, with_leaves
from assent.training.normalised_pair import normalised_pair
from assent.training.ranks import all_reduce

__all__ = ["Outcome", "Step", "all_reduce", "denominators"]

Score = Callable[[Sequence[Any]], Any]
"""Rows -> PairScores, GroupScores or Scores, with gradient where gradients are enabled."""


@dataclass
class Outcome:
    """What a step gave on this rank: its part of the loss (parts add up over ranks) and the objective's statistics."""

    loss: Tensor
    sums: dict[str, Tensor] = field(default_factory=dict)

    def add_sums(self, more: Mapping[str, Tensor]) -> None:
        for name, value in more.items():
            self.sums[name] = self.sums[name] + value if name in self.sums else value


def denominators(objective: Objective, blank: Any) -> Tensor:
    """[terms] float64: what the rows of ``blank`` (scores whose log-probabilities do not matter) add to each mean."""
    return torch.stack([t.objective.counts(blank).sum().double() for t in objective.terms()])


@dataclass
class Step:
    """How a step is run: the objective with its state, the scoring of rows, and how gradients reach the parameters.

    score: every rank calls it equally often, so that it may exchange parameters.  backward: adds the gradient of a scalar.
    ranks: over how many ranks gradients are averaged afterwards.  hold: context in which they are not yet exchanged.
    check: told this rank's loss before the last backward pass, where some engines already move the parameters.
    observe: told rows and scores, once each.  sides: the parameters whose two gradients, of the chosen and of the rejected
    side, are each brought to length 1 (``normalised_pair``); None adds them as they are.
    """

    objective: Objective
    state: Mapping[str, Tensor]
    score: Score
    backward: Callable[[Tensor], None]
    ranks: int = 1
    hold: Callable[[], AbstractContextManager] = nullcontext
    check: Callable[[Tensor], None] = lambda loss: None
    observe: Callable[[Sequence[Any], Any], None] = lambda rows, scores: None
    sides: Sequence[Tensor] | None = None

    def run(self, batches: Sequence[Sequence[Any]], totals: Tensor, real: int) -> Outcome:
        """Gradients of the step's loss over ``batches``, the first ``real`` rows of which are not fillers."""
        if self.sides is not None or (self.objective.couples != "no" and (len(batches) > 1 or self.ranks > 1)):
            return self._scores_first(batches, real)
        outcome = None
        for number, (rows, context) in enumerate(self._contexts(batches), 1):
            with context:
                scores = self.score(rows)
                divisors = list(totals.to(logp_of(scores)).unbind())
                loss = combine(partial_sums(self.objective, scores, self.state), divisors)
                outcome = outcome or Outcome(torch.zeros_like(loss.detach()))
                outcome.loss += loss.detach()
                if number == len(batches):
                    self.check(outcome.loss)
                self.backward(loss * self.ranks)
            outcome.add_sums(self.objective.sums(scores, self.state))
            self.observe(rows, scores)
        return outcome

    def _contexts(self, batches: Sequence[Sequence[Any]]) -> Iterable[tuple[Sequence[Any], AbstractContextManager]]:
        """Each micro-batch with its context: gradients are exchanged between ranks in the last one only."""
        for i, rows in enumerate(batches):
            yield rows, nullcontext() if i == len(batches) - 1 else self.hold()

    def _scores_first(self, batches: Sequence[Sequence[Any]], real: int) -> Outcome:
        """Pass one: scores of all real rows; the objective's gradient on them; pass two: that gradient through the model."""
        own = self._first_pass(batches, real)
        everyone, at = on_ranks(own)
        inputs = leaves(own)
        scores = concatenate([*everyone[:at], with_leaves(own, inputs), *everyone[at + 1 :]])
        loss = combine(partial_sums(self.objective, scores, self.state))
        self.check(loss.detach() / self.ranks)
        # a rank whose rows are all fillers has nothing that the loss depends on
        found = torch.autograd.grad(loss, list(inputs.values()), allow_unused=True) if inputs else ()
        slopes = {name: g for name, g in zip(inputs, found, strict=True) if g is not None}
        outcome = Outcome(loss.detach() / self.ranks)
        if at == 0:  # the statistics are those of the whole step already
            outcome.add_sums(self.objective.sums(scores, self.state))
        else:
            outcome.sums = {k: torch.zeros_like(v) for k, v in self.objective.sums(scores, self.state).items()}
        if self.sides is None:
            self._carry(batches, slopes, self.observe)
        else:
            self._carry_sides(batches, slopes, self.sides)
        return outcome

    def _carry(
        self, batches: Sequence[Sequence[Any]], slopes: Mapping[str, Tensor], observe: Callable[[Any, Any], None]
    ) -> None:
        """Carry d loss / d scores through the model, micro-batch by micro-batch."""
        start: dict[str, int] = {}
        for rows, context in self._contexts(batches):
            with context:
                scores = self.score(rows)
                carried = [pad_rows(slopes, name, value, start) for name, value in leaves(scores, detach=False).items()]
                total = sum((slope * value).sum() for slope, value in carried if value.requires_grad)
                self.backward(total * self.ranks)
            observe(rows, scores)

    def _carry_sides(
        self, batches: Sequence[Sequence[Any]], slopes: Mapping[str, Tensor], parameters: Sequence[Tensor]
    ) -> None:
        """Each side's gradient in a pass of its own, both brought to length 1; random draws are alike in the two."""
        devices = list(range(torch.cuda.device_count())) if torch.cuda.is_available() else []
        with torch.random.fork_rng(devices=devices):
            self._carry(
                batches, {k: v for k, v in slopes.items() if k.startswith("/chosen/")}, lambda rows, scores: None
            )
        chosen = [parameter.grad for parameter in parameters]
        for parameter in parameters:
            parameter.grad = None
        self._carry(batches, {k: v for k, v in slopes.items() if k.startswith("/rejected/")}, self.observe)
        # a loss falls along minus these gradients: chosen rises by its own, rejected falls by its own
        up = [None if g is None else -g for g in chosen]
        for parameter, update in zip(parameters, normalised_pair(up, [p.grad for p in parameters]), strict=True):
            parameter.grad = update

    def _first_pass(self, batches: Sequence[Sequence[Any]], real: int) -> Any:
        """Scores of this rank's real rows without gradients; random draws are left as they were for the second pass."""
        devices = list(range(torch.cuda.device_count())) if torch.cuda.is_available() else []
        found, left = [], real
        with torch.random.fork_rng(devices=devices), torch.no_grad():
            for rows in batches:
                found.append(first_rows(self.score(rows), left))
                left -= min(left, len(rows))
        found = [scores for scores in found if scores is not None]
        return concatenate(found) if found else None
