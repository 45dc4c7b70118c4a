"""The small types that objectives are described with: needs, run facts, state by name, ranges of fields."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from torch import Tensor

from assent.errors import AssentError
from assent.records import ANONYMOUS

State = Mapping[str, Tensor]


class Need(NamedTuple):
    """Something a scorer must provide: reference, length, tokens, entropy, sum_sq, kl_ref, reward (of completions), or by
    name a column, token_column, view, mask (of tokens, learned) or head.  size: outputs of a head, levels of a view."""

    kind: str
    name: str = ""
    size: int = 0

    def __str__(self) -> str:
        return f"{self.kind} {self.name!r}" if self.name else self.kind


REFERENCE, LENGTH, TOKENS = Need("reference"), Need("length"), Need("tokens")


@dataclass(frozen=True)
class RunInfo:
    """What an objective may know of the run when its state is made: the annotators' names in vocabulary order."""

    annotators: tuple[str, ...] = (ANONYMOUS,)


def scoped(key: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state's names put under ``key``."""
    return {f"{key}.{name}": value for name, value in state.items()}


def within(state: Mapping[str, Tensor], key: str) -> dict[str, Tensor]:
    """The part of a state that lies under ``key``; everything when the key is empty."""
    if not key:
        return dict(state)
    return {name[len(key) + 1 :]: value for name, value in state.items() if name.startswith(key + ".")}


def require(condition: bool, objective: str, field: str, value: Any, allowed: str) -> None:
    """Refuse a hyper-parameter out of range, naming the field, the value and the allowed range."""
    if not condition:
        raise AssentError(f"{objective}: {field} is {value!r}; expected {allowed}")
