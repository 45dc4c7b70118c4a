"""Which rows form which optimiser step on which rank: shuffled by (seed, epoch), never repeated, filled with weight 0."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch.utils.data import Sampler

from assent.scores import Labels, PairScores, Scores


class StepSampler(Sampler[list[int]]):
    """The row numbers of every optimiser step of one rank.

    A step is ``rows_per_rank`` x ``ranks`` rows of the epoch's order.  Each rank takes its share; where the last step
    does not divide, a share is filled with negative numbers -1 - row, which stand for that row at weight 0, so that all
    ranks run as many micro-batches.  The order is a function of (seed, epoch) alone: it does not depend on the
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
    ) -> None:
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

    def __iter__(self) -> Iterator[list[int]]:
        order, step = self.order(), self.rows_per_rank * self.ranks
        for i in range(len(self)):
            rows = order[i * step : (i + 1) * step]
            share = -(-len(rows) // self.ranks)
            mine = rows[self.rank * share : (self.rank + 1) * share]
            yield mine + [-1 - rows[0]] * (share - len(mine))


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


class StepRows(list):
    """The rows of a rank's step; the first ``real`` of them are not fillers."""

    real: int


def identity(rows: Sequence[Any]) -> StepRows:
    """The collator: a batch is the list of its rows; the scorer pads them."""
    batch = StepRows(rows)
    batch.real = sum(not isinstance(row, Filler) for row in rows)
    return batch


def split(rows: Sequence[Any], size: int) -> list[list[Any]]:
    """Micro-batches of at most ``size`` rows, in order."""
    return [list(rows[i : i + size]) for i in range(0, len(rows), size)]


def rows_only(rows: Sequence[Any], device: torch.device | str = "cpu") -> PairScores | Scores:
    """What is known of the scores before any model runs: weights, targets, labels and lengths; log-probabilities are 0."""
    number = partial(torch.tensor, dtype=torch.float64, device=device)
    weight = number([row.weight for row in rows])
    if not hasattr(rows[0], "chosen"):
        length = number([sum(row.sequence.mask) for row in rows])
        return Scores(torch.zeros_like(weight), length=length, columns={"weight": weight})
    sides = [[sum(getattr(row, side).mask) for row in rows] for side in ("chosen", "rejected")]
    chosen, rejected = (Scores(torch.zeros_like(weight), length=number(side)) for side in sides)
    flat = [(i, *label) for i, row in enumerate(rows) for label in row.labels]
    labels = None
    if flat:
        pair, annotator, p, label_weight, gold = (torch.tensor(c, device=device) for c in zip(*flat, strict=True))
        labels = Labels(pair, annotator, p.double(), label_weight.double(), gold.bool())
    return PairScores(chosen, rejected, weight=weight, target=number([r.target for r in rows]), labels=labels)
