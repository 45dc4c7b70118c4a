from __future__ import annotations

import math

import pytest
import torch

from assent.diagnostics.length import Moments, length_gap
from assent.scores import PairScores, Scores


def test_gap_by_hand():
    zeros = torch.zeros(2)
    scores = PairScores(Scores(zeros, length=torch.tensor([5, 2])), Scores(zeros, length=torch.tensor([3, 4])))
    assert length_gap(scores).tolist() == [2.0, -2.0]


def test_a_line_has_correlation_one_and_its_slope():
    y = torch.tensor([1.0, 2.0, 4.0, 7.0])
    for slope in (0.25, -3.0):
        moments = Moments.of(slope * y + 5, y)
        assert moments.correlation == pytest.approx(math.copysign(1.0, slope), abs=1e-12)
        assert moments.slope == pytest.approx(slope, abs=1e-12)


def test_a_correlation_by_hand():
    # x = 0 1 2, y = 0 2 1: centred sums xx = 2, yy = 2, xy = 1
    moments = Moments.of(torch.tensor([0.0, 1.0, 2.0]), torch.tensor([0.0, 2.0, 1.0]))
    assert moments.correlation == pytest.approx(0.5, abs=1e-12)
    assert moments.slope == pytest.approx(0.5, abs=1e-12)


def test_parts_add_up_to_the_whole():
    torch.manual_seed(0)
    x, y = torch.randn(2, 50, dtype=torch.float64)
    parts = Moments.of(x[:20], y[:20]) + Moments.of(x[20:], y[20:])
    torch.testing.assert_close(parts.values, Moments.of(x, y).values, rtol=0, atol=1e-12)
    assert parts.count == 50
    assert parts.correlation == pytest.approx(torch.corrcoef(torch.stack([x, y]))[0, 1].item(), abs=1e-12)


def test_nothing_varies_or_nothing_is_there():
    assert math.isnan(Moments.of(torch.ones(3), torch.arange(3.0)).correlation)
    assert math.isnan(Moments.of(torch.arange(3.0), torch.ones(3)).slope)
    assert math.isnan(Moments.of(torch.ones(1), torch.ones(1)).slope)
