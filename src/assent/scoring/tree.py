"""Sequences to prefix trees: a prompt once, its completions as branches, all packed without padding.

A branch sees its prompt and itself; positions restart at the branch.  The branch point of a row is the longest common
token prefix of its completions, at most the prompt's boundary; rows with the same prompt share one tree.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from assent.errors import AssentError


class Span(NamedTuple):
    """One tree's place in the packed batch: first token, tokens of the prompt, tokens of each branch."""

    first: int
    prompt: int
    branches: tuple[int, ...]

    @property
    def sizes(self) -> tuple[int, ...]:
        """Tokens of the prompt with its first branch, and of every further branch: how the tree is cut for attention."""
        return (self.prompt + self.branches[0], *self.branches[1:])


@dataclass(frozen=True)
class TreeBatch:
    """N packed tokens of some trees, and the T tokens that count, sequence by sequence.

    ids, position [N] int.  tree, branch [N] int: whose token it is; branch -1 is the prompt.  spans: the trees.
    row [T]: sequence of each counted token.  index [T]: its place in the completion, from 0.  target [T]: its id.
    parent [T]: packed place of the token before it, whose hidden state predicts it.  length [C]: counted tokens.
    masks: attention masks of this batch by what they depend on, made when first needed.
    """

    ids: Tensor
    position: Tensor
    tree: Tensor
    branch: Tensor
    spans: tuple[Span, ...]
    row: Tensor
    index: Tensor
    target: Tensor
    parent: Tensor
    length: Tensor
    masks: dict[Any, Any] = field(default_factory=dict, compare=False, repr=False)

    def __len__(self) -> int:
        """Number of sequences, C."""
        return self.length.shape[0]

    @property
    def tokens(self) -> int:
        """Packed tokens, N."""
        return self.ids.shape[0]

    def allowed(self, window: int | None = None) -> Tensor:
        """[N, N] bool: whether a token (rows) sees another (columns).  For tests: the paths never make it whole."""
        at = torch.arange(self.tokens, device=self.ids.device)
        return sees(self, at[:, None], at[None, :], window)


def sees(batch: TreeBatch, query: Tensor, key: Tensor, window: int | None = None) -> Tensor:
    """Whether the token at packed place ``query`` sees the one at ``key``: same tree, prompt or own branch, not later.

    window: sliding window in tree positions; a token sees itself and the ``window - 1`` before it.
    """
    same = (batch.tree[query] == batch.tree[key]) & (
        (batch.branch[key] == -1) | (batch.branch[key] == batch.branch[query])
    )
    distance = batch.position[query] - batch.position[key]
    inside = distance >= 0 if window is None else (distance >= 0) & (distance < window)
    return same & inside


def shared_prefix(sequences: Sequence[Any]) -> int:
    """Longest common token prefix of a row's sequences, at most the prompt of any: the branch point."""
    n = min(s.prompt_length for s in sequences)
    first = sequences[0].ids
    for other in sequences[1:]:
        differ = np.flatnonzero(first[:n] != other.ids[:n])
        n = int(differ[0]) if len(differ) else n
    return n


class _Tree:
    """A tree that grows: its prompt, and its branches by content."""

    def __init__(self, prompt: np.ndarray) -> None:
        self.prompt = prompt
        self.branches: dict[bytes, np.ndarray] = {}
        self.members: list[tuple[int, bytes]] = []

    def add(self, number: int, ids: np.ndarray) -> None:
        """Hang sequence ``number`` into the tree; equal completions are one branch."""
        rest = ids[len(self.prompt) :]
        key = rest.tobytes()
        self.branches.setdefault(key, rest)
        self.members.append((number, key))


def _grow(sequences: Sequence[Any], rows: Sequence[Sequence[int]]) -> list[_Tree]:
    trees: dict[bytes, _Tree] = {}
    for members in rows:
        point = shared_prefix([sequences[i] for i in members])
        prompt = np.asarray(sequences[members[0]].ids[:point], dtype=np.int64)
        # completions without a shared token are trees of their own
        key = prompt.tobytes() if point else b"-" + np.int64(members[0]).tobytes()
        tree = trees.setdefault(key, _Tree(prompt))
        for i in members:
            tree.add(i, np.asarray(sequences[i].ids, dtype=np.int64))
    return list(trees.values())


def pack(
    sequences: Sequence[Any], rows: Sequence[Sequence[int]] | None = None, device: torch.device | str = "cpu"
) -> TreeBatch:
    """Token sequences (``ids``, ``prompt_length``, ``mask`` over the whole sequence) as packed prefix trees.

    rows: the sequences of each row, such as (chosen, rejected); None takes every sequence as a row of its own.
    Raises AssentError where no token of a sequence counts, or its first token does (nothing predicts it).
    """
    if not sequences:
        raise AssentError("a batch of 0 sequences cannot be scored; give at least one row")
    rows = [(i,) for i in range(len(sequences))] if rows is None else rows
    _check(sequences)
    ids, position, tree_of, branch_of, spans = [], [], [], [], []
    places: list[np.ndarray] = [np.empty(0)] * len(sequences)  # packed place of every token of a sequence
    first = 0
    for number, tree in enumerate(_grow(sequences, rows)):
        order = sorted(tree.branches, key=lambda key: -len(key))  # the longest branch needs no mask beside its prompt
        sizes = tuple(len(tree.branches[key]) for key in order)
        starts = dict(zip(order, np.cumsum([len(tree.prompt), *sizes[:-1]]), strict=True))
        ids += [tree.prompt, *(tree.branches[key] for key in order)]
        prompt = np.arange(len(tree.prompt))
        position += [prompt, *(len(prompt) + np.arange(size) for size in sizes)]
        branch_of += [np.full(len(prompt), -1), *(np.full(size, b) for b, size in enumerate(sizes))]
        tree_of.append(np.full(len(prompt) + sum(sizes), number))
        spans.append(Span(first, len(prompt), sizes))
        for i, key in tree.members:
            places[i] = first + np.concatenate([prompt, starts[key] + np.arange(len(tree.branches[key]))])
        first += len(prompt) + sum(sizes)
    arrays = {
        "ids": np.concatenate(ids),
        "position": np.concatenate(position),
        "tree": np.concatenate(tree_of),
        "branch": np.concatenate(branch_of),
        **_counted(sequences, places),
    }
    tensors = {name: torch.from_numpy(np.ascontiguousarray(a, dtype=np.int64)) for name, a in arrays.items()}
    return TreeBatch(spans=tuple(spans), **{name: t.to(device) for name, t in tensors.items()})


def _check(sequences: Sequence[Any]) -> None:
    for i, s in enumerate(sequences):
        if s.mask[0] or not s.mask.any():
            what = "its first token counted, which nothing predicts" if s.mask[0] else "no counted completion token"
            raise AssentError(f"sequence {i} of the batch has {what}; expected a prompt (or BOS) and a completion")


def _counted(sequences: Sequence[Any], places: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    """The tokens that count, sequence by sequence."""
    at = [np.flatnonzero(s.mask) for s in sequences]
    return {
        "row": np.repeat(np.arange(len(sequences)), [len(a) for a in at]),
        "index": np.concatenate([a - s.prompt_length for s, a in zip(sequences, at, strict=True)]),
        "target": np.concatenate([s.ids[a] for s, a in zip(sequences, at, strict=True)]),
        "parent": np.concatenate([place[a - 1] for place, a in zip(places, at, strict=True)]),
        "length": np.array([len(a) for a in at]),
    }
