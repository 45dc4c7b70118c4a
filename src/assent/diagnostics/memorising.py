"""Memorising: pairs trained on are ranked far better than held-out ones, noise included."""

from __future__ import annotations

from typing import NamedTuple


class Gap(NamedTuple):
    """Training accuracy less held-out accuracy, and its standard error."""

    gap: float
    standard_error: float

    def beyond(self, gap: float, errors: float = 3.0) -> bool:
        """Whether the gap is at least ``gap`` and more than ``errors`` standard errors above 0."""
        return self.gap >= gap and self.gap > errors * self.standard_error


def accuracy_gap(train: float, train_pairs: float, held_out: float, held_out_pairs: float) -> Gap:
    """Two shares of correctly ranked pairs compared, as independent binomials (variance p (1 - p) / n each)."""
    variance = train * (1 - train) / train_pairs + held_out * (1 - held_out) / held_out_pairs
    return Gap(train - held_out, variance**0.5)
