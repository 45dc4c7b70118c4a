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
    row, count = tokens.row, tokens.row.shape[0]
    if count == 0:
        return torch.zeros_like(row)
    order = torch.argsort(row * (tokens.index.max() + 1) + tokens.index)
    lengths = row.new_zeros(int(row.max()) + 1).index_add(0, row, torch.ones_like(row))
    start = lengths.cumsum(0) - lengths
    ranks = torch.arange(count, device=row.device) - start[row[order]]
    return torch.empty_like(row).index_copy(0, order, ranks)


def counted(tokens: Tokens, completions: int) -> Tensor:
    """Counted tokens of each completion [C], int."""
    ones = torch.ones_like(tokens.row)
    return tokens.row.new_zeros(completions).index_add(0, tokens.row, ones)
