"""The few functions that pairwise losses are made of; each is written and tested once."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import softplus


def logistic(logit: Tensor) -> Tensor:
    """-log sigmoid(logit), stable for any size; ln 2 at 0, gradient sigmoid(logit) - 1."""
    return softplus(-logit)


def binary_cross_entropy(logit: Tensor, target: Tensor) -> Tensor:
    """t softplus(-s) + (1 - t) softplus(s): logistic loss with target t; gradient sigmoid(s) - t."""
    return target * softplus(-logit) + (1 - target) * softplus(logit)


def squared_error(value: Tensor, target: float | Tensor) -> Tensor:
    """(value - target)^2: regression of a log-ratio onto a target."""
    return (value - target) ** 2
