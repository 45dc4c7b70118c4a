"""What an objective asks of the rows themselves, looked at before anything runs: columns, labels, masks that leave a token."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from assent.errors import AssentError
from assent.objectives import Objective
from assent.objectives.kinds import LabelledObjective
from assent.objectives.mask_l1 import LEARNED
from assent.scores import PairScores, Tokens
from assent.scoring.assemble import wanted_columns
from assent.scoring.batch import collate
from assent.training.batches import rows_only
from assent.weighting.masked import Masked

_CHUNK = 512


def check_columns(objective: Objective, rows: Sequence[Any], source: str, made: Collection[str] = ()) -> None:
    """Refuse rows without a column that the objective reads; AssentError names the column, how many rows, and the objective.

    made: columns that the run computes later.
    """
    names = wanted_columns(need.name for need in objective.needs if need.kind == "column")
    for name in (name for name in names if name not in made):
        lacking = [row.index for row in rows if row.columns.get(name) is None]
        if lacking:
            there = ", ".join(sorted({column for row in rows[:_CHUNK] for column in row.columns})) or "none"
            raise AssentError(
                f"{source}: {len(lacking)} of {len(rows)} rows have no number in column {name!r}, which {objective!s} reads "
                f"(the first is row {lacking[0]}); add it or map it with --columns (columns there: {there})"
            )


def check_labels(objective: Objective, rows: Sequence[Any], source: str) -> None:
    """Refuse labelled rows of one class alone where the objective reads both, or of the other one."""
    for part in objective.walk():
        if not isinstance(part, LabelledObjective):
            continue
        for label in part.reads:
            if not any(row.weight > 0 and (row.label if label else 1 - row.label) > 0 for row in rows):
                word = str(label).lower()
                what = "rows of both labels" if len(part.reads) > 1 else f"rows labelled {word}"
                raise AssentError(
                    f"{source}: none of {len(rows)} rows is labelled {word}, and {part!s} reads {what}; add some or "
                    "choose another objective"
                )


def check_masks(objective: Objective, tables: Mapping[str, Any], rows: Sequence[Any]) -> None:
    """Refuse completions of which a fixed token mask leaves nothing, before the first step meets them.

    tables: the run's token columns.  Raises AssentError naming the mask, the side and the row.
    """
    for part in objective.walk():
        if not isinstance(part, Masked) or part.tokens in LEARNED or not part.must_leave_a_token:
            continue
        for start in range(0, len(rows), _CHUNK):
            chunk = list(rows[start : start + _CHUNK])
            for side, row in _emptied(part, _blank(chunk, tables, part)):
                raise AssentError(
                    f"the mask {part.tokens!r} of {part!s} leaves no token of the {side} completion of row {chunk[row].index}; "
                    "expected one in each: mend the mask or leave the row out"
                )


def _emptied(part: Masked, scores: PairScores) -> Iterator[tuple[str, int]]:
    for side, mask in zip(("chosen", "rejected"), part.masks(scores), strict=True):
        tokens: Tokens = getattr(scores, side).tokens
        left = tokens.sum_rows(mask.double(), len(scores))
        yield from ((side, int(row)) for row in (left <= 0).nonzero()[:1])


def _blank(rows: Sequence[Any], tables: Mapping[str, Any], part: Masked) -> PairScores:
    """Scores of pairs without a model: counted tokens and their columns, log-probabilities 0."""
    blank = rows_only(rows)
    return replace(
        blank, **{s: replace(getattr(blank, s), tokens=_tokens(rows, s, tables, part)) for s in ("chosen", "rejected")}
    )


def _tokens(rows: Sequence[Any], side: str, tables: Mapping[str, Any], part: Masked) -> Tokens:
    sequences = [getattr(row, side) for row in rows]
    batch = collate(sequences, 0)
    names = {need.name for need in part.needs if need.kind == "token_column"}
    columns: dict[str, Tensor] = {name: tables[name].logp(None, batch, sequences) for name in names - {"id"}}
    if "id" in names:
        columns["id"] = batch.target
    return Tokens(batch.row, batch.index, torch.zeros(len(batch.row)), columns=columns)
