"""Scores of several micro-batches and ranks put together, and the gradient on them taken apart again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any

import torch
from torch import Tensor

from assent.scores import Column, GroupScores, Labels, PairScores, Scores, Tokens

_FIXED = {"ref_logp", "length", "weight", "target", "labels", "row", "index", "group", "score"}
"""Fields that never carry a gradient."""

_INDICES = {(Labels, "pair"), (Tokens, "row"), (GroupScores, "group")}
"""Fields that point at rows."""


def concatenate(parts: Sequence[Any]) -> Any:
    """One PairScores, GroupScores or Scores from several, rows in order."""
    parts = [p for p in parts if p is not None]
    if len(parts) == 1:
        return parts[0]
    kind = type(parts[0])
    if kind is Tokens:
        raise TypeError("tokens are put together with their scores")
    offsets = _offsets([len(p) for p in parts])
    return _join(parts, offsets)


def _offsets(lengths: Sequence[int]) -> list[int]:
    total, out = 0, []
    for length in lengths:
        out.append(total)
        total += length
    return out


def _join(parts: Sequence[Any], offsets: Sequence[int]) -> Any:
    """Join dataclasses or mappings of tensors; indices into rows are moved by ``offsets``."""
    first = parts[0]
    if first is None:
        return None
    if isinstance(first, Tensor):
        return torch.cat(list(parts))
    if isinstance(first, Mapping):
        return {name: _join([p[name] for p in parts], offsets) for name in first}
    if not is_dataclass(first):
        return first
    changes = {}
    for f in fields(first):
        values = [getattr(p, f.name) for p in parts]
        if (type(first), f.name) in _INDICES:
            changes[f.name] = torch.cat([v + o for v, o in zip(values, offsets, strict=True)])
        elif isinstance(first, GroupScores) and f.name == "completions":
            changes[f.name] = _join(values, _offsets([len(v) for v in values]))  # whose tokens count completions
        elif isinstance(first, Labels) and f.name in ("weight", "gold") and any(v is None for v in values):
            changes[f.name] = _filled(parts, values, f.name)
        else:
            changes[f.name] = _join(values, offsets)
    return replace(first, **changes)


def _filled(parts: Sequence[Labels], values: Sequence[Tensor | None], name: str) -> Tensor | None:
    """Label fields that some parts leave out: weight 1, gold no."""
    if all(v is None for v in values):
        return None
    blank = torch.ones_like if name == "weight" else lambda p: torch.zeros_like(p, dtype=torch.bool)
    return torch.cat([blank(part.p) if v is None else v for part, v in zip(parts, values, strict=True)])


def logp_of(scores: Any) -> Tensor:
    """Some log-probabilities of scores of any kind: their dtype and device are those of the whole."""
    if isinstance(scores, PairScores):
        return scores.chosen.logp
    return scores.completions.logp if isinstance(scores, GroupScores) else scores.logp


def first_rows(scores: Any, count: int) -> Any:
    """The scores of the first ``count`` rows alone, with their tokens and labels; None where there are none."""
    if count >= len(scores):
        return scores
    if count > 0 and isinstance(scores, GroupScores):
        inside = int((scores.group < count).sum())
        return GroupScores(
            _cut(scores.completions, inside), scores.group[:inside], scores.score[:inside], _cut(scores.weight, count)
        )
    return _cut(scores, count) if count > 0 else None


def _cut(value: Any, count: int) -> Any:
    if isinstance(value, Tensor):
        return value[:count]
    if isinstance(value, Mapping):
        return {name: _cut(inner, count) for name, inner in value.items()}
    if isinstance(value, Labels | Tokens):
        inside = (value.pair if isinstance(value, Labels) else value.row) < count
        return _kept(value, inside)
    if is_dataclass(value):
        return replace(value, **{f.name: _cut(getattr(value, f.name), count) for f in fields(value)})
    return value


def _kept(value: Any, inside: Tensor) -> Any:
    """Labels or tokens where ``inside`` is true."""
    if isinstance(value, Tensor):
        return value[inside]
    if isinstance(value, Mapping):
        return {name: _kept(inner, inside) for name, inner in value.items()}
    if is_dataclass(value):
        return replace(value, **{f.name: _kept(getattr(value, f.name), inside) for f in fields(value)})
    return value


def leaves(scores: Any, detach: bool = True) -> dict[str, Tensor]:
    """The tensors of scores that may depend on the parameters, by path; fresh leaves unless ``detach`` is False."""
    out: dict[str, Tensor] = {}
    _collect(scores, "", out)
    return {k: v.detach().clone().requires_grad_() for k, v in out.items()} if detach else out


def _collect(value: Any, path: str, out: dict[str, Tensor]) -> None:
    if isinstance(value, Tensor):
        if value.is_floating_point():
            out[path] = value
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            _collect(inner, f"{path}/{name}", out)
    elif isinstance(value, PairScores | GroupScores | Scores | Tokens | Column):
        for f in fields(value):
            if f.name not in _FIXED:
                _collect(getattr(value, f.name), f"{path}/{f.name}", out)


def with_leaves(value: Any, found: Mapping[str, Tensor], path: str = "") -> Any:
    """The same scores with the tensors at the given paths put in."""
    if isinstance(value, Tensor):
        return found.get(path, value)
    if isinstance(value, Mapping):
        return {name: with_leaves(inner, found, f"{path}/{name}") for name, inner in value.items()}
    if isinstance(value, PairScores | GroupScores | Scores | Tokens | Column):
        names = [f.name for f in fields(value) if f.name not in _FIXED]
        return replace(value, **{n: with_leaves(getattr(value, n), found, f"{path}/{n}") for n in names})
    return value


def pad_rows(slopes: Mapping[str, Tensor], name: str, value: Tensor, start: dict[str, int]) -> tuple[Tensor, Tensor]:
    """(slope, value) of the next rows of ``name``; rows beyond the end are fillers and get slope 0."""
    if name not in slopes:
        return torch.zeros_like(value), value
    begin = start.get(name, 0)
    start[name] = begin + len(value)
    piece = slopes[name][begin : begin + len(value)]
    if len(piece) < len(value):
        piece = torch.cat([piece, piece.new_zeros(len(value) - len(piece), *piece.shape[1:])])
    return piece.to(value), value


def on_ranks(own: Any) -> tuple[list[Any], int]:
    """The scores of every rank, without gradients, and this rank's place among them."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return [own], 0
    everyone: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(everyone, _moved(own, torch.device("cpu")))
    at = torch.distributed.get_rank()
    device = None if own is None else logp_of(own).device
    return [_moved(part, device) for part in everyone], at


def _moved(value: Any, device: torch.device | None) -> Any:
    if isinstance(value, Tensor):
        return value.detach() if device is None else value.detach().to(device)
    if isinstance(value, Mapping):
        return {k: _moved(v, device) for k, v in value.items()}
    if is_dataclass(value):
        return replace(value, **{f.name: _moved(getattr(value, f.name), device) for f in fields(value)})
    return value
