"""Length: whether the margins follow the difference in length rather than anything else."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from assent.scores import PairScores


def length_gap(scores: PairScores) -> Tensor:
    """Counted tokens of the chosen side less those of the rejected one [P]."""
    return (scores.chosen.length - scores.rejected.length).to(scores.chosen.logp)


@dataclass(frozen=True)
class Moments:
    """Additive sums of two variables x, y over pairs: enough for their correlation and slope.

    values [6] float64: count, sum x, sum y, sum x^2, sum y^2, sum x y; two of them add up over micro-batches and ranks.
    """

    values: Tensor

    @classmethod
    def of(cls, x: Tensor, y: Tensor) -> Moments:
        """The sums of x [P] and y [P]."""
        x, y = x.detach().double(), y.detach().double()
        return cls(
            torch.stack([torch.ones_like(x).sum(), x.sum(), y.sum(), (x * x).sum(), (y * y).sum(), (x * y).sum()])
        )

    def __add__(self, other: Moments) -> Moments:
        return Moments(self.values + other.values)

    def _centred(self) -> tuple[float, float, float, float]:
        n, x, y, xx, yy, xy = self.values.tolist()
        return n, max(xx - x * x / n, 0.0), max(yy - y * y / n, 0.0), xy - x * y / n

    @property
    def count(self) -> float:
        return self.values[0].item()

    @property
    def correlation(self) -> float:
        """Pearson's correlation; NaN with fewer than two pairs or where a variable does not vary."""
        if self.count < 2:
            return float("nan")
        _, xx, yy, xy = self._centred()
        return xy / (xx * yy) ** 0.5 if xx > 0 and yy > 0 else float("nan")

    @property
    def slope(self) -> float:
        """Least-squares slope of x on y: nats of margin per token of length gap; NaN where y does not vary."""
        if self.count < 2:
            return float("nan")
        _, _, yy, xy = self._centred()
        return xy / yy if yy > 0 else float("nan")
