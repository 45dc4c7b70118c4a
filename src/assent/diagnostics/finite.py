"""Non-finite numbers: which rows of a batch carry them, and where."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import torch
from torch import Tensor

from assent.scores import PairScores, Scores


def broken_rows(scores: PairScores | Scores, loss: Tensor | None = None) -> dict[int, list[str]]:
    """Row -> the fields that are NaN or infinite there, such as "chosen.logp" or "loss"; empty when all is well.

    loss: one per row.
    """
    found: dict[int, list[str]] = {}
    for name, values in _named(scores):
        _mark(found, name, values)
    if loss is not None:
        _mark(found, "loss", loss)
    return dict(sorted(found.items()))


def _named(scores: PairScores | Scores, prefix: str = "") -> list[tuple[str, Tensor]]:
    """Every field that has one number per row."""
    named = []
    for f in fields(scores):
        value: Any = getattr(scores, f.name)
        if isinstance(value, Scores):
            named += _named(value, f"{prefix}{f.name}.") if f.name in ("chosen", "rejected") else []
        elif isinstance(value, Tensor) and value.shape[:1] == (len(scores),):
            named.append((prefix + f.name, value))
    return named


def _mark(found: dict[int, list[str]], name: str, values: Tensor) -> None:
    for row in torch.nonzero(~torch.isfinite(values.detach())).flatten().tolist():
        found.setdefault(row, []).append(name)
