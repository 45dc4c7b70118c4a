"""The few things that ranks must agree on outside a step."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TypeVar

import torch

from assent.errors import AssentError

T = TypeVar("T")


def all_reduce(value: torch.Tensor) -> torch.Tensor:
    """The sum over ranks, in place; the value itself on a single one."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.all_reduce(value)
    return value


def first_rank() -> bool:
    """Whether this process is the only one, or the first of several."""
    return int(os.environ.get("RANK", 0)) == 0


def on_first_rank(ask: Callable[[], T]) -> T:
    """What ``ask`` gives on the first rank, on every rank; a user's mistake that it finds is told on all of them.

    For looking at and making directories, which all ranks see at once.
    """
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return ask()
    found: list[object] = [None, None]
    if first_rank():
        try:
            found[0] = ask()
        except AssentError as error:
            found[1] = str(error)
    torch.distributed.broadcast_object_list(found, src=0)
    if found[1] is not None:
        raise AssentError(str(found[1]))
    return found[0]  # type: ignore[return-value]
