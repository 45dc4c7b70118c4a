"""Difficulty's consequences by hand and against simulation."""

from __future__ import annotations

from math import expm1, log, log1p

import pytest
import torch

from assent import DPO
from assent.diagnostics.difficulty import flip_time, idealised_accuracy, idealised_log_ratio, threshold_loss
from assent.weighting.difficulty import difficulty
from hand import pair, value

F64 = torch.float64


def test_golden_values() -> None:
    c = torch.tensor([0.0, 5.0, 20.0, -3.0], dtype=F64)
    assert threshold_loss(c, 0.1).tolist()[:2] == pytest.approx([log(2), log1p(2.718281828459045**-0.5)], abs=1e-12)
    # beta .1: [5 + 10 (e^.5 - 1)] / .2 = 57.4; 419 for c = 20; right pairs need no time
    assert flip_time(c, 0.1).tolist() == pytest.approx(
        [0.0, (5 + 10 * expm1(0.5)) / 0.2, (20 + 10 * expm1(2)) / 0.2, 0.0]
    )
    assert flip_time(c, 0.1)[1:3].tolist() == pytest.approx([57.4, 419.0], abs=0.6)
    # share 3/4 at beta .5: -5 + 2 log 3
    share = torch.tensor([0.75], dtype=F64)
    assert idealised_log_ratio(c[1:2], share, 0.5).item() == pytest.approx(-5 + 2 * log(3), abs=1e-12)


def test_a_loss_below_the_threshold_is_a_right_ranking() -> None:
    generator = torch.Generator().manual_seed(0)
    for _ in range(300):
        a, c, beta = torch.randn(3, generator=generator, dtype=F64).tolist()
        beta = 0.05 + abs(beta)
        scores = pair(a, 0.0, ref=(0.0, c))
        below = value(DPO(beta)(scores)) <= value(threshold_loss(difficulty(scores), beta))
        assert below == (a >= 0)


def test_limits_of_the_idealised_accuracy() -> None:
    c, share = torch.tensor([-1.0, 2.0, 4.0], dtype=F64), torch.tensor([0.6, 0.7, 0.4], dtype=F64)
    # beta to infinity: the reference's own accuracy; beta to 0: whether the share is above 1/2
    assert idealised_accuracy(c, share, 1e6).item() == pytest.approx(1 / 3)
    assert idealised_accuracy(c, share, 1e-6).item() == pytest.approx(2 / 3)
    assert idealised_accuracy(c, torch.full((3,), 0.5, dtype=F64), 0.1).item() == pytest.approx(1 / 3)


def test_flip_time_against_the_flow() -> None:
    # dm/dt = 2 beta sigmoid(-beta m), turned when m = c
    beta, c, m, t, dt = 0.5, 3.0, 0.0, 0.0, 1e-3
    while m < c:
        m += dt * 2 * beta / (1 + 2.718281828459045 ** (beta * m))
        t += dt
    assert flip_time(torch.tensor([c], dtype=F64), beta).item() == pytest.approx(t, rel=1e-3)
