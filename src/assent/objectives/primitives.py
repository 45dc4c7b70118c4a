"""The few functions that pairwise losses are made of; each is written and tested once."""

from __future__ import annotations

from math import exp, expm1, log

import torch
from torch import Tensor
from torch.nn.functional import relu, softplus

_HEADROOM = 20.0
"""Nats kept free below the largest number of a dtype, so that sums and multiples of a bounded value stay finite."""
_ALMOST_ONE = -1e-6
"""Highest mean log-probability whose complement is computed: beyond, its tangent is used."""


def logistic(logit: Tensor) -> Tensor:
    """-log sigmoid(logit), stable for any size; ln 2 at 0, gradient sigmoid(logit) - 1."""
    return softplus(-logit)


def binary_cross_entropy(logit: Tensor, target: Tensor) -> Tensor:
    """t softplus(-s) + (1 - t) softplus(s): logistic loss with target t; gradient sigmoid(s) - t."""
    return target * softplus(-logit) + (1 - target) * softplus(logit)


def squared_error(value: Tensor, target: float | Tensor) -> Tensor:
    """(value - target)^2: regression of a log-ratio onto a target."""
    return (value - target) ** 2


def bounded_expm1(x: Tensor) -> Tensor:
    """e^x - 1; beyond x = 68.7 in float32 and 689.8 in float64 its tangent, so that value and gradient stay finite."""
    bound = log(torch.finfo(x.dtype).max) - _HEADROOM
    return torch.expm1(x.clamp_max(bound)) + exp(bound) * relu(x - bound)


def box_cox(log_value: Tensor, power: float) -> Tensor:
    """(u^power - 1) / power of u = e^log_value; power 0 is log u.  Rises in u; slope 1 at u = 1; bounded as e^x is."""
    return log_value if power == 0 else bounded_expm1(power * log_value) / power


def log_complement(log_value: Tensor) -> Tensor:
    """log(1 - e^x) of x < 0, exact to either end; beyond x = -1e-6 (a probability of 1) its tangent, slope -1e6."""
    inner = log_value.clamp_max(_ALMOST_ONE)
    near = inner > -log(2)
    value = torch.where(near, torch.log(-torch.expm1(inner)), torch.log1p(-inner.exp()))
    return value - relu(log_value - _ALMOST_ONE) / expm1(-_ALMOST_ONE)


def log_odds(log_value: Tensor) -> Tensor:
    """log(p / (1 - p)) of p = e^x, x < 0; beyond x = -1e-6 (a probability of 1) its tangent, slope 1e6."""
    inner = log_value.clamp_max(_ALMOST_ONE)
    beyond = relu(log_value - _ALMOST_ONE) / -expm1(_ALMOST_ONE)
    return inner - torch.log(-torch.expm1(inner)) + beyond
