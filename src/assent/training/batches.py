"""Which rows form which optimiser step on which rank: shuffled by (seed, epoch), never repeated, filled with weight 0."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import Any

import torch
from torch.utils.data import Sampler

from assent.scores import GroupScores, Labels, PairScores, Scores

Deal = Callable[[Sequence[int]], list[list[list[int]]]]
"""Row numbers of a step -> rank -> micro-batches of row numbers, as many on every rank; -1 - row is that row at weight 0."""


class Share(list):
    """The row numbers of a rank's step, or the rows themselves, one micro-batch after another, fillers last.

    sizes: rows of each micro-batch.
    """

    sizes: tuple[int, ...]

    @classmethod
    def of(cls, micro_batches: Sequence[Sequence[Any]]) -> Share:
        share = cls(row for batch in micro_batches for row in batch)
        share.sizes = tuple(map(len, micro_batches))
        return share


def in_order(ranks: int) -> Deal:
    """Every rank takes as many rows, one after the other, and runs them at once; a rank without any gets a filler."""

    def deal(rows: Sequence[int]) -> list[list[list[int]]]:
        share = -(-len(rows) // ranks)
        return [[list(rows[rank * share : (rank + 1) * share]) or [-1 - rows[0]]] for rank in range(ranks)]

    return deal


class StepSampler(Sampler[list[int]]):
    """The row numbers of every optimiser step of one rank.

    A step is ``rows_per_rank`` x ``ranks`` rows of the epoch's order, which ``deal`` gives to ranks and micro-batches.
    Where they do not divide, a rank gets fillers, negative numbers -1 - row that stand for that row at weight 0, so that
    all ranks run as many micro-batches.  The order is a function of (seed, epoch) alone: it does not depend on the
    global generators, the number of ranks or where a run was resumed.
    """

    def __init__(
        self,
        rows: int,
        rows_per_rank: int,
        seed: int,
        *,
        shuffle: bool = True,
        drop_last: bool = False,
        rank: int = 0,
        ranks: int = 1,
        deal: Deal | None = None,
    ) -> None:
        self.deal = in_order(ranks) if deal is None else deal
        self.rows, self.rows_per_rank, self.seed = rows, rows_per_rank, seed
        self.shuffle, self.drop_last, self.rank, self.ranks = shuffle, drop_last, rank, ranks
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order the next iteration gives."""
        self.epoch = epoch

    def order(self) -> list[int]:
        """Every row once, in this epoch's order."""
        if not self.shuffle:
            return list(range(self.rows))
        generator = torch.Generator().manual_seed((self.seed * 1_000_003 + self.epoch) % 2**63)
        return torch.randperm(self.rows, generator=generator).tolist()

    def __len__(self) -> int:
        step = self.rows_per_rank * self.ranks
        return self.rows // step if self.drop_last else -(-self.rows // step)

    def __iter__(self) -> Iterator[Share]:
        order, step = self.order(), self.rows_per_rank * self.ranks
        for i in range(len(self)):
            yield Share.of(self.deal(order[i * step : (i + 1) * step])[self.rank])


def planned_steps(training: Any, steps_per_epoch: int) -> int:
    """Optimiser steps of a run, as transformers counts them."""
    if training.max_steps > 0:
        return training.max_steps
    return math.ceil(training.num_train_epochs * max(steps_per_epoch, 1))


class Rows(torch.utils.data.Dataset):
    """Tokenised rows by number; a negative number -1 - i is row i at weight 0."""

    def __init__(self, rows: Sequence[Any]) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Any:
        return self.rows[index] if index >= 0 else Filler(self.rows[-1 - index])

    def __getitems__(self, numbers: Sequence[int]) -> list[Any]:
        """A whole share; it stays cut into its micro-batches."""
        rows = Share(self[number] for number in numbers)
        rows.sizes = getattr(numbers, "sizes", (len(numbers),))
        return rows


class Filler:
    """A row that only fills a share: the same tokens, weight 0."""

    def __init__(self, row: Any) -> None:
        self.row = row

    def __getattr__(self, name: str) -> Any:
        if name == "weight":
            return 0.0
        if name == "labels":
            return tuple((who, p, 0.0, gold) for who, p, _, gold in self.row.labels)
        if name == "row":  # not there yet while being unpickled
            raise AttributeError(name)
        return getattr(self.row, name)


class StepRows(Share):
    """The rows of a rank's step; the first ``real`` of them are not fillers."""

    real: int

    def micro_batches(self) -> list[list[Any]]:
        """The rows, micro-batch by micro-batch."""
        rows = iter(self)
        return [list(islice(rows, size)) for size in self.sizes]


def identity(rows: Sequence[Any]) -> StepRows:
    """The collator: a batch is the list of its rows; the scorer pads them."""
    batch = StepRows(rows)
    batch.real = sum(not isinstance(row, Filler) for row in rows)
    batch.sizes = getattr(rows, "sizes", (len(batch),))
    return batch


def split(rows: Sequence[Any], size: int) -> list[list[Any]]:
    """Micro-batches of at most ``size`` rows, in order."""
    return [list(rows[i : i + size]) for i in range(0, len(rows), size)]


def rows_only(rows: Sequence[Any], device: torch.device | str = "cpu") -> PairScores | GroupScores | Scores:
    """What is known of the scores before any model runs: weights, targets, labels and lengths; log-probabilities are 0."""
    number = partial(torch.tensor, dtype=torch.float64, device=device)
    weight = number([row.weight for row in rows])
    if hasattr(rows[0], "sequences"):
        group = torch.tensor([i for i, row in enumerate(rows) for _ in row.sequences], device=device)
        length = number([sum(s.mask) for row in rows for s in row.sequences])
        side = Scores(torch.zeros_like(length), length=length)
        return GroupScores(side, group, number([x for row in rows for x in row.scores]), weight)
    if not hasattr(rows[0], "chosen"):
        length, columns = number([sum(row.sequence.mask) for row in rows]), {"weight": weight}
        if all(row.label is not None for row in rows):
            columns["label"] = number([float(row.label) for row in rows])
        return Scores(torch.zeros_like(weight), length=length, columns=columns)
    sides = [[sum(getattr(row, side).mask) for row in rows] for side in ("chosen", "rejected")]
    chosen, rejected = (Scores(torch.zeros_like(weight), length=number(side)) for side in sides)
    flat = [(i, *label) for i, row in enumerate(rows) for label in row.labels]
    labels = None
    if flat:
        pair, annotator, p, label_weight, gold = (torch.tensor(c, device=device) for c in zip(*flat, strict=True))
        labels = Labels(pair, annotator, p.double(), label_weight.double(), gold.bool())
    return PairScores(chosen, rejected, weight=weight, target=number([r.target for r in rows]), labels=labels)
