"""From values per token to values per completion, and what is missing said by name."""

from __future__ import annotations

import torch
from torch import Tensor

from assent.errors import AssentError
from assent.scores import Scores, Tokens
from assent.shapes import PerCompletion, PerToken, RowOfToken


def tokens_of(side: Scores) -> Tokens:
    """The per-token values; an error where the scores carry none."""
    if side.tokens is None:
        raise AssentError(
            "the scores carry no tokens; score with per-token values or choose a sequence-level objective"
        )
    return side.tokens


def token_values(side: Scores, name: str) -> PerToken:
    """A value per token [T] by name: ``mask``, ``entropy``, ``sum_sq``, ``kl_ref``, ``ref_logp`` or a token column."""
    tokens = tokens_of(side)
    own = getattr(tokens, name) if name in ("mask", "entropy", "sum_sq", "kl_ref", "ref_logp") else None
    found = tokens.columns.get(name) if own is None else own
    if found is None:
        there = ", ".join(sorted(tokens.columns)) or "none"
        raise AssentError(
            f"the tokens carry no {name!r} (token columns there: {there}); use a scorer that provides it or another objective"
        )
    return found.to(tokens.logp)


def token_sum(side: Scores, values: PerToken) -> PerCompletion:
    """Sum of ``values`` [T] over the counted tokens of each completion -> [C]."""
    return tokens_of(side).sum_rows(values, len(side))


def token_log_ratio(side: Scores) -> PerToken:
    """log policy minus log reference of every counted token [T], nats."""
    return tokens_of(side).logp - token_values(side, "ref_logp")


def place(tokens: Tokens) -> RowOfToken:
    """How many counted tokens of the same completion come before each [T]; tokens may lie in any order."""
    return places(tokens.row, tokens.index)


def places(row: RowOfToken, index: RowOfToken) -> RowOfToken:
    """How many of these tokens of the same completion have a lower ``index`` [T]."""
    return _ranks(row, _keys(row, index))


def among_smallest(draw: RowOfToken, at: RowOfToken, row: RowOfToken, keep: Tensor) -> Tensor:
    """Whether the draw of each token (32 bits, [T]) is one of the ``keep`` [C] smallest of its completion -> [T] bool.

    Equal draws go by their place ``at`` [T].
    """
    return _ranks(row, _keys(row, draw), _keys(row, at)) < keep.index_select(0, row)


def leading(tokens: Tokens, count: Tensor, own: Tensor, rest: float = 0.0) -> PerToken:
    """1 for the first ``count`` [C] of the ``own`` [C] counted tokens of each completion, ``rest`` for those after [T]."""
    if _rises(_keys(tokens.row, tokens.index)):  # in order, the weights are runs
        runs = torch.stack([count, own - count], dim=1).flatten()
        values = tokens.logp.new_tensor([1.0, rest]).repeat(len(count))
        return values.repeat_interleave(runs, output_size=len(tokens.row))
    within = (place(tokens) < count.index_select(0, tokens.row)).to(tokens.logp)
    return within + rest * (1 - within)


def counted(tokens: Tokens, completions: int) -> Tensor:
    """Counted tokens of each completion [C], int."""
    return torch.bincount(tokens.row, minlength=completions)


def _keys(row: RowOfToken, value: RowOfToken) -> RowOfToken:
    """Numbers that rise with the completion and, within it, with a value below 2^32."""
    return torch.add(value, row, alpha=1 << 32)


def _rises(key: RowOfToken) -> bool:
    return bool((key[1:] > key[:-1]).all())


def _ranks(row: RowOfToken, *keys: RowOfToken) -> RowOfToken:
    """Rank of each token within its completion by the first keys, equal ones by the next [T]."""
    order = None  # scorers lay tokens out in order: often nothing to sort
    for key in reversed(keys):
        found = key if order is None else key.index_select(0, order)
        if not _rises(found):
            by = torch.argsort(found, stable=True)
            order = by if order is None else order.index_select(0, by)
    in_order = row if order is None else row.index_select(0, order)
    lengths = torch.bincount(in_order)
    since = torch.arange(len(row), device=row.device) - (lengths.cumsum(0) - lengths).index_select(0, in_order)
    return since if order is None else torch.empty_like(row).index_copy(0, order, since)
