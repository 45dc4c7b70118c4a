"""The labels of an audit as arrays, from records or, for given logits, straight from the columns of a file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from assent.data import Records
from assent.data.fields import plain
from assent.errors import AssentError
from assent.records import Pair
from assent.scores import Labels


@dataclass(frozen=True)
class LabelTable:
    """J labels of P pairs by K annotators.

    pair, annotator [J] int; p [J]: probability that the stored order is right; weight [J]; gold [J] bool;
    row [J]: 0-based position in the input of the (first) row a label came from; more: label -> its further rows.
    names [K]; pairs: P; cluster [P] int: pairs of one prompt share a number.
    records: the pairs as they were read, None where a file had no text; notes: what happened on the way in.
    """

    pair: np.ndarray
    annotator: np.ndarray
    p: np.ndarray
    weight: np.ndarray
    gold: np.ndarray
    row: np.ndarray
    names: tuple[str, ...]
    pairs: int
    cluster: np.ndarray
    source: str
    fingerprint: str
    n_rows: int
    records: tuple[Pair, ...] | None = None
    sides: tuple[str, ...] = ()
    more: dict[int, tuple[int, ...]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.pair)

    @property
    def sign(self) -> np.ndarray:
        """[J] +1 where the label names the stored order, -1 where the other, 0 for ties."""
        return np.sign(self.p - 0.5)

    def labels(self) -> Labels:
        """The same labels as tensors."""
        return Labels(
            pair=torch.from_numpy(self.pair),
            annotator=torch.from_numpy(self.annotator),
            p=torch.from_numpy(self.p),
            weight=torch.from_numpy(self.weight),
            gold=torch.from_numpy(self.gold) if self.gold.any() else None,
        )

    def per_pair(self, values: np.ndarray) -> np.ndarray:
        """Sum of a value per label over the labels of each pair -> [P]."""
        return np.bincount(self.pair, weights=values, minlength=self.pairs)

    def kept(self, pairs: np.ndarray) -> LabelTable:
        """Only the pairs marked True in ``pairs`` [P] (for resampling: no records)."""
        number = np.cumsum(pairs) - 1
        own = pairs[self.pair]
        return LabelTable(
            number[self.pair[own]], self.annotator[own], self.p[own], self.weight[own], self.gold[own],
            self.row[own], self.names, int(pairs.sum()), self.cluster[pairs], self.source, self.fingerprint,
            self.n_rows,
        )  # fmt: skip


def from_records(records: Records) -> LabelTable:
    """The labels of checked records.  Raises AssentError where they are not pairs or judgements."""
    if records.kind != "pairs":
        raise AssentError(
            f"{records.source}: an audit needs preference pairs or judgements; these are {records.kind} rows"
        )
    pairs: Sequence[Pair] = records.rows  # type: ignore[assignment]
    number = {name: k for k, name in enumerate(records.annotators)}
    flat = [(i, label) for i, pair in enumerate(pairs) for label in pair.labels]
    prompts: dict[str, int] = {}
    cluster = [prompts.setdefault(plain(pair.prompt), len(prompts)) for pair in pairs]
    return LabelTable(
        pair=np.array([i for i, _ in flat], dtype=np.int64),
        annotator=np.array([number[label.annotator] for _, label in flat], dtype=np.int64),
        p=np.array([label.p for _, label in flat], dtype=np.float64),
        weight=np.array([label.weight for _, label in flat], dtype=np.float64),
        gold=np.array([label.gold for _, label in flat], dtype=bool),
        row=np.array([label.rows[0] if label.rows else -1 for _, label in flat], dtype=np.int64),
        names=records.annotators,
        pairs=len(pairs),
        cluster=np.array(cluster, dtype=np.int64),
        source=records.source,
        fingerprint=records.fingerprint,
        n_rows=records.n_rows,
        records=tuple(pairs),
        sides=records.sides,
        more={j: label.rows[1:] for j, (_, label) in enumerate(flat) if len(label.rows) > 1},
        notes=tuple(_notes(records)),
    )


def _notes(records: Records) -> list[str]:
    """Every drop, repair and merge of the reading, as sentences."""
    return [
        f"{event.count:,} {event.name}: {event.sentence}."
        for event in records.report
        if event.kind in ("drop", "repair", "merge", "truncate")
    ]


def column_logits(table: LabelTable, column: str) -> np.ndarray:
    """The logits [P] that the pairs carry in ``column``, in nats for the stored order.

    The column ``logit`` was read, and turned where a pair was stored the other way round; any other column counts for
    chosen over rejected (b over a in judgements), so it is renamed to ``logit`` before reading.
    """
    values = [pair.logit for pair in table.records or ()]
    absent = sum(v is None for v in values)
    if absent:
        raise AssentError(
            f"{table.source}: {absent} of {len(values)} pairs have no number in column {column!r}; "
            "--scorer logits:COLUMN needs one in every row"
        )
    return np.array(values, dtype=np.float64)


def text_of(content: Any) -> str:
    """The words of a prompt or completion, messages joined by newlines."""
    return plain(content)
