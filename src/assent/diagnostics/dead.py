"""Dead pairs: they are in the data, cost their share of every epoch and teach nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

STILL = 1e-6
"""A pair stands still when its weight in the gradient is below this share of the largest."""


def identical(rows: Sequence[Any]) -> Tensor:
    """Whether both sides of each token pair are the same tokens [P] bool: their gradients cancel whatever the loss."""
    return torch.tensor([np.array_equal(row.chosen.ids, row.rejected.ids) for row in rows], dtype=torch.bool)


def still(force: Tensor, level: float = STILL) -> Tensor:
    """Whether the loss moves neither side of each pair [P] bool; force [P]: |d_w| + |d_l|, its pair weights.

    A hinge does this to pairs beyond it, a logistic loss to margins above 13.8 nats.  All are still where no pair moves.
    """
    return force <= level * force.max() if len(force) else force.bool()
