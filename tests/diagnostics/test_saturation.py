from __future__ import annotations

import math

import torch

from assent.diagnostics.saturation import gradient_share, saturated


def test_shares_by_hand():
    margin = torch.tensor([0.0, math.log(3.0), -math.log(3.0)], dtype=torch.float64)
    torch.testing.assert_close(gradient_share(margin), torch.tensor([0.5, 0.25, 0.75], dtype=torch.float64))


def test_the_share_is_the_slope_of_the_logistic_loss():
    margin = torch.linspace(-4, 4, 9, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(torch.nn.functional.softplus(-margin).sum(), margin)
    torch.testing.assert_close(gradient_share(margin), -slope)


def test_the_border_of_saturation():
    assert saturated(torch.tensor([4.59, 4.60, -9.0])).tolist() == [False, True, False]
    assert saturated(torch.tensor([0.1]), level=0.5).tolist() == [True]
