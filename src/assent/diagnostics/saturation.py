"""Saturation: pairs whose margin is so large that a logistic loss no longer moves the model."""

from __future__ import annotations

import torch
from torch import Tensor

LEVEL = 0.01
"""A pair is saturated when its gradient is below this share of the largest one."""


def gradient_share(margin: Tensor) -> Tensor:
    """|d softplus(-s) / ds| = sigmoid(-s) [P]: 1/2 at margin 0, toward 0 for a pair that is settled; s in nats."""
    return torch.sigmoid(-margin.detach())


def saturated(margin: Tensor, level: float = LEVEL) -> Tensor:
    """Whether each pair's gradient is below ``level`` [P] bool; at 0.01 these are margins above 4.595 nats."""
    return gradient_share(margin) < level
