"""The regret loss and the forward KL on groups, by hand."""

from __future__ import annotations

import math

import pytest
import torch
from grouped import grouped, slopes

from assent import AssentError, parse


def test_regret_by_hand():
    # even shares of scores 1, 0: regret 1/2; loss 1/4, slope in x_1: 2 * 1/2 * -(1/4)
    even = grouped([0.0, 0.0], [1.0, 0.0])
    loss = parse("regret()")(even)
    assert loss.item() == pytest.approx(0.25, abs=1e-15) and slopes(loss, even) == pytest.approx(
        [-0.25, 0.25], abs=1e-15
    )
    assert parse("regret()")(grouped([-1.0, 2.0, 0.0], [0.3, 0.3, 0.3])).item() == pytest.approx(0.0, abs=1e-30)
    assert parse("regret(power=1.0)")(grouped([math.log(3), 0.0], [1.0, 0.0])).item() == pytest.approx(0.25, abs=1e-15)


def test_forward_kl_by_hand():
    # shares 3/4 and 1/4 against an even reference: tau (1/2) log(1/2 / 3/4) + tau (1/2) log(1/2 / 1/4) - 3/4
    found = parse("forward_kl(tau=2.0)")(grouped([math.log(3), 0.0], [1.0, 0.0]))
    assert found.item() == pytest.approx(math.log(2 / 3) + math.log(2) - 0.75, abs=1e-14)
    # where pi_i = tau rho_i / (lambda - r_i) nothing pulls: tau 1, r = 1, 0: 1/2 = pi_1 (lambda - 1), lambda = 1 + 1/sqrt(2)
    lam = 1 + 2**-0.5
    at = grouped([math.log(0.5 / (lam - 1)), math.log(0.5 / lam)], [1.0, 0.0])
    assert torch.allclose(torch.tensor(slopes(parse("forward_kl(tau=1.0)")(at), at)), torch.zeros(2), atol=1e-7)


def test_refusals():
    with pytest.raises(AssentError, match="above 0"):
        parse("forward_kl(tau=0.0)")
    with pytest.raises(AssentError, match="1 or more"):
        parse("regret(power=0.5)")
    with pytest.raises(AssentError, match="KL\\(reference"):
        parse("forward_kl(beta=0.1)")
