"""The views of a batch: which rows have them, and their scores spread over all rows, zeros where a row has none."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from assent.objectives.base import Need
from assent.scores import Scores
from assent.scoring import hidden
from assent.scoring.heads import DEGREE, Heads


@dataclass(frozen=True)
class ViewRows:
    """One view of P rows: which of them have it, and what they have.  scored: its log-probability is read, not its states."""

    name: str
    rows: int
    at: tuple[int, ...]
    views: tuple[Any, ...]
    scored: bool = True

    @property
    def sequences(self) -> list[Any]:
        return [view.sequence for view in self.views]

    def spread(self, values: Tensor) -> Tensor:
        """Values [n, ...] of the rows that have the view as [P, ...], zeros elsewhere."""
        at = torch.tensor(self.at, dtype=torch.long, device=values.device)
        return values.new_zeros(self.rows, *values.shape[1:]).index_copy(0, at, values)

    def scores(self, side: Scores) -> Scores:
        """Scores [n] of the sequences as [P]: log-probability, length and columns 0 where a row has no such view."""
        at = torch.tensor(self.at, dtype=torch.long, device=side.logp.device)
        return replace(
            side,
            logp=self.spread(side.logp),
            ref_logp=None if side.ref_logp is None else self.spread(side.ref_logp),
            length=self.spread(side.length),
            tokens=None if side.tokens is None else replace(side.tokens, row=at[side.tokens.row]),
            columns={name: self.spread(values) for name, values in side.columns.items()},
        )


def views_of(rows: Sequence[Any], needs: Iterable[Need]) -> list[ViewRows]:
    """The needed views of the rows, by name; a view may be absent from every row of a batch."""
    found, needs = [], list(needs)
    graded_ones = any(need.kind == "head" and need.name.startswith(DEGREE) for need in needs)
    for name in sorted({need.name for need in needs if need.kind == "view"}):
        at = tuple(i for i, row in enumerate(rows) if name in row.views)
        scored = not (graded_ones and name.endswith("@degraded"))
        found.append(ViewRows(name, len(rows), at, tuple(rows[i].views[name] for i in at), scored))
    return found


def scored_views(views: Iterable[ViewRows], side: Callable[[int, int], Scores], first: int) -> dict[str, Scores]:
    """Scores of the scored views by name; their sequences lie side by side from number ``first`` on."""
    found = {}
    for view in views:
        if view.scored:
            found[view.name] = view.scores(side(first, first + len(view.at)))
            first += len(view.at)
    return found


def graded(view: ViewRows, model: nn.Module, heads: Heads, pad_token_id: int) -> Scores:
    """A view that heads read and no log-probability: columns "degree", "degree_known" and every head's logits [P, L].

    Both sides' heads grade it, since a pair that is taken the other way round asks the other one.
    """
    like, at = next(heads.parameters()), list(view.at)
    states = hidden.last(model, view.sequences, pad_token_id) if at else None
    columns: dict[str, Tensor] = {
        "degree": view.spread(like.new_tensor([v.columns["degree"] for v in view.views])),
        "degree_known": like.new_zeros(view.rows),
    }
    columns["degree_known"][at] = 1.0
    for name, head in heads.items():
        if name.startswith(DEGREE):
            logits = head.weight.new_zeros(0, head.out_features) if states is None else head(states.to(head.weight))
            columns[name] = view.spread(logits)
    return Scores(like.new_zeros(view.rows), columns=columns)
