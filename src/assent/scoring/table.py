"""Known sequences by content: 16-byte keys, sorted, and where the values of each lie.

A million sequences are five arrays of 40 MB together and no Python object each; a batch is looked up by one binary search.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from assent.errors import AssentError

KEY_BYTES = 16


def sequence_key(sequence: Any) -> bytes:
    """16 bytes that stand for everything about a token sequence that enters its log-probabilities.

    Token ids, prompt length and mask; position ids are 0, 1, 2, ... and need no place.  A sequence with images or sound
    carries an attribute ``extra``: the bytes of their pixels or samples and of the processor's settings.
    """
    extra = getattr(sequence, "extra", b"")
    digest = hashlib.blake2b(digest_size=KEY_BYTES)
    head = (int(sequence.prompt_length), len(sequence.ids), len(extra))
    digest.update(b"".join(number.to_bytes(8, "little") for number in head))
    digest.update(np.ascontiguousarray(sequence.ids, dtype="<i8"))
    digest.update(np.ascontiguousarray(sequence.mask, dtype=np.bool_))
    digest.update(extra)
    return digest.digest()


def keys_of(sequences: Sequence[Any]) -> np.ndarray:
    """The keys [n, 2] of sequences, as two uint64 each."""
    return as_pairs(b"".join(map(sequence_key, sequences)))


def as_pairs(keys: bytes) -> np.ndarray:
    """Keys one after another as an array [n, 2] of uint64."""
    return np.frombuffer(keys, dtype="<u8").reshape(-1, 2)


@dataclass(frozen=True, eq=False)
class Index:
    """Sorted keys and the places of their values.

    high, low [n] uint64: the two halves of each key, increasing.  places [n, 3] int64: part, first and last + 1 value.
    """

    high: np.ndarray
    low: np.ndarray
    places: np.ndarray

    @classmethod
    def of(cls, parts: Sequence[tuple[np.ndarray, np.ndarray]]) -> Index:
        """From (keys [n, 2], places [n, 2]) of each part; of a key that several parts hold, the first one counts."""
        keys = np.concatenate([np.empty((0, 2), "<u8"), *(k for k, _ in parts)])
        spans = np.concatenate([np.empty((0, 2), np.int64), *(p for _, p in parts)])
        part = np.repeat(np.arange(len(parts)), [len(k) for k, _ in parts])
        order = np.lexsort((keys[:, 1], keys[:, 0]))  # stable, so that the first of equal keys stays in front
        keys = keys[order]
        new = np.ones(len(keys), dtype=bool)
        new[1:] = (keys[1:] != keys[:-1]).any(axis=1)
        places = np.column_stack([part, spans])[order][new].astype(np.int64)
        return cls(keys[new, 0].copy(), keys[new, 1].copy(), places)

    def __len__(self) -> int:
        return len(self.high)

    def __getitem__(self, key: bytes) -> tuple[int, int]:
        """First and last + 1 value of one key within its part; KeyError where it is unknown."""
        at = int(self.find(as_pairs(key))[0])
        if at < 0:
            raise KeyError(key)
        return int(self.places[at, 1]), int(self.places[at, 2])

    @property
    def nbytes(self) -> int:
        return self.high.nbytes + self.low.nbytes + self.places.nbytes

    def find(self, keys: np.ndarray) -> np.ndarray:
        """The line of each key [m, 2], -1 where it is unknown."""
        if not len(self):
            return np.full(len(keys), -1)
        high, low = keys[:, 0], keys[:, 1]
        at, last = np.searchsorted(self.high, high), len(self) - 1
        while True:  # keys that share their first half lie side by side; nearly always there is none
            near = np.minimum(at, last)
            before = (at <= last) & (self.high[near] == high) & (self.low[near] < low)
            if not before.any():
                break
            at += before
        hit = (at <= last) & (self.high[near] == high) & (self.low[near] == low)
        return np.where(hit, at, -1)

    def gather(self, parts: Sequence[np.ndarray], sequences: Sequence[Any], missing: str) -> np.ndarray:
        """The values [T] of sequences one after another; AssentError with the sentence ``missing`` where one is unknown."""
        at = self.find(keys_of(sequences))
        if (at < 0).any():
            raise AssentError(missing)
        return np.concatenate([parts[part][first:last] for part, first, last in self.places[at].tolist()])


def own_sequences(row: Any) -> tuple[Any, ...]:
    """The token sequences of a pair, a group or a single completion, without its views."""
    if hasattr(row, "chosen"):
        return (row.chosen, row.rejected)
    return tuple(row.sequences) if hasattr(row, "sequences") else (row.sequence,)


def view_sequences(row: Any) -> tuple[Any, ...]:
    """The sequences of a row's views whose log-probabilities are read."""
    return tuple(view.sequence for view in getattr(row, "views", {}).values() if view.scored)


def sequences_of(row: Any) -> tuple[Any, ...]:
    """Every token sequence of a row that is scored, its views last."""
    return (*own_sequences(row), *view_sequences(row))


def distinct(rows: Sequence[Any]) -> tuple[list[Any], np.ndarray, np.ndarray]:
    """Every sequence of the rows once, its key [n, 2], and the number of the first row that holds it [n]."""
    sequences = [(i, s) for i, row in enumerate(rows) for s in sequences_of(row)]
    keys = keys_of([s for _, s in sequences])
    _, first = np.unique(keys.view(np.void(KEY_BYTES).dtype).ravel(), return_index=True)
    first.sort()
    owner = np.array([sequences[i][0] for i in first], dtype=np.int64)
    return [sequences[i][1] for i in first], keys[first], owner


def batches(
    sequences: Sequence[Any], budget: int, together: np.ndarray | None = None, keys: np.ndarray | None = None
) -> Iterator[list[int]]:
    """Numbers of sequences in batches, short ones first, whose padded size stays within ``budget`` tokens.

    together [n]: sequences of one number stay in one batch, for an engine that reads a shared prompt once.  keys: break
    ties, so that batches do not depend on the order of the rows.  A batch holds one sequence (or one number) at least.
    """
    groups: dict[int, list[int]] = {}
    for i, number in enumerate(range(len(sequences)) if together is None else together.tolist()):
        groups.setdefault(number, []).append(i)
    lengths = [len(s.ids) for s in sequences]
    ties = range(len(sequences)) if keys is None else [tuple(key) for key in keys.tolist()]
    ordered = sorted(groups.values(), key=lambda group: (max(lengths[i] for i in group), ties[group[0]]))
    batch: list[int] = []
    for group in ordered:  # the longest sequence of a group is the longest so far
        if batch and (len(batch) + len(group)) * max(lengths[i] for i in group) > budget:
            yield batch
            batch = []
        batch += group
    if batch:
        yield batch
