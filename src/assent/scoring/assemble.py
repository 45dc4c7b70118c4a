"""From rows to sequences and from the scores of sequences back to rows, whichever model gives them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor

from assent.errors import AssentError
from assent.objectives.base import Need
from assent.scores import Column, GroupScores, Labels, PairScores, Scores, Swap

SWAP_RULES: dict[str, Swap] = {"margin": "negate", "logit": "negate", "p_chosen": "complement"}
SIDES = {"_chosen": "_rejected", "_rejected": "_chosen"}
"""Endings of the columns that belong to a side: a swap exchanges the two."""


def kind_of(rows: Sequence[Any]) -> str:
    """The attribute that holds the sequences of these rows: chosen (pairs), sequences (groups) or sequence (examples)."""
    kinds = {next(name for name in ("chosen", "sequences", "sequence") if hasattr(row, name)) for row in rows}
    if len(kinds) != 1:
        what = "a mixture of pairs, groups and single completions" if kinds else "no rows"
        raise AssentError(f"the scorer was given {what}; expected one kind of token rows in one batch")
    return kinds.pop()


def flat(rows: Sequence[Any], kind: str) -> tuple[list[Any], list[tuple[int, ...]]]:
    """All sequences of the rows, and the numbers of those that form a row; of pairs all chosen ones come first."""
    count = len(rows)
    if kind == "chosen":
        both = [row.chosen for row in rows] + [row.rejected for row in rows]
        return both, [(i, count + i) for i in range(count)]
    if kind == "sequence":
        return [row.sequence for row in rows], [(i,) for i in range(count)]
    flat = [sequence for row in rows for sequence in row.sequences]
    ends = list(accumulate(len(row.sequences) for row in rows))
    return flat, [tuple(range(end - len(row.sequences), end)) for row, end in zip(rows, ends, strict=True)]


def assembled(
    rows: Sequence[Any], kind: str, side: Callable[[int, int], Scores], needs: Iterable[Need],
    views: Mapping[str, Scores], signal: Callable[[Scores], Tensor],
) -> PairScores | Scores | GroupScores:  # fmt: skip
    """The scores of the rows: their sides with weights, targets, labels, the needed columns and the views.

    side: the scores of sequences first..last-1 in the order of ``flat``.  signal: what an example's view is as a column [C].
    """
    names = sorted(need.name for need in needs if need.kind == "column")
    if kind == "sequence":
        found = side(0, len(rows))
        columns = _example_columns(rows, names, found.logp)
        columns |= {name: signal(view) for name, view in views.items()}
        return replace(found, columns={**found.columns, **columns})
    if kind == "sequences":
        return _groups(rows, side(0, sum(len(row.sequences) for row in rows)))
    chosen, rejected = side(0, len(rows)), side(len(rows), 2 * len(rows))
    return PairScores(
        chosen=chosen,
        rejected=rejected,
        views=views,
        weight=_numbers([r.weight for r in rows], chosen.logp),
        target=_numbers([r.target for r in rows], chosen.logp),
        labels=_labels(rows, chosen.logp),
        columns=_pair_columns(rows, names, chosen.logp),
    )


def _groups(rows: Sequence[Any], side: Scores) -> GroupScores:
    group = [number for number, row in enumerate(rows) for _ in row.sequences]
    return GroupScores(
        side,
        torch.tensor(group, device=side.logp.device),
        _numbers([score for row in rows for score in row.scores], side.logp),
        _numbers([row.weight for row in rows], side.logp),
    )


def _numbers(values: Sequence[float], like: Tensor) -> Tensor:
    return torch.tensor(values, dtype=like.dtype, device=like.device)


def _labels(rows: Sequence[Any], like: Tensor) -> Labels | None:
    flat = [(i, *label) for i, row in enumerate(rows) for label in row.labels]
    if not flat:
        return None
    pair, annotator, p, weight, gold = zip(*flat, strict=True)
    return Labels(
        pair=torch.tensor(pair, device=like.device),
        annotator=torch.tensor(annotator, device=like.device),
        p=_numbers(p, like),
        weight=_numbers(weight, like),
        gold=torch.tensor(gold, dtype=torch.bool, device=like.device),
    )


def _value(row: Any, name: str) -> float:
    value = row.columns.get(name)
    if value is None:
        raise AssentError(f"row {row.index} has no number in column {name!r}, which the objective needs; add it")
    return float(value)


def _other_side(name: str) -> str | None:
    """The column of the other side, for names such as score_chosen."""
    if name not in SWAP_RULES:
        for ending, other in SIDES.items():
            if name.endswith(ending):
                return name.removesuffix(ending) + other
    return None


def wanted_columns(names: Iterable[str]) -> list[str]:
    """The columns that are read where these are needed: with one of a side goes that of the other."""
    names = list(names)
    return sorted({*names, *(other for name in names if (other := _other_side(name)))})


def _pair_columns(rows: Sequence[Any], names: Sequence[str], like: Tensor) -> dict[str, Column]:
    """The needed columns with their swap rule; a column that is of no side and has no rule belongs to both orders."""
    columns = {}
    for name in wanted_columns(names):
        value = _numbers([_value(row, name) for row in rows], like)
        columns[name] = Column(value, SWAP_RULES.get(name, "keep"), exchange=_other_side(name))
    return columns


def _example_columns(rows: Sequence[Any], names: Sequence[str], like: Tensor) -> dict[str, Tensor]:
    columns = {name: _numbers([_value(row, name) for row in rows], like) for name in names}
    columns["weight"] = _numbers([row.weight for row in rows], like)
    if all(row.label is not None for row in rows):
        columns["label"] = _numbers([float(row.label) for row in rows], like)
    return columns
