"""Reliability diagrams against hand-made bins and labels drawn from the stated probabilities."""

from __future__ import annotations

import math

import pytest
import torch

from assent.diagnostics.calibration import (
    agreement,
    brier,
    expected_calibration_error,
    label_logit,
    overconfidence,
    reliability_diagram,
)


def numbers(*values):
    return torch.tensor(values, dtype=torch.float64)


def test_bins_by_hand():
    """sigmoid(ln 3) = .75 twice, once against the label; sigmoid(ln 19) = .95 with a soft label of .6."""
    logit = numbers(math.log(3), -math.log(3), math.log(19))
    bins = reliability_diagram(logit, numbers(1.0, 1.0, 0.6), numbers(1.0, 1.0, 2.0), bins=5)
    assert [(b.low, b.high, b.pairs) for b in bins] == [(0.7, 0.8, 2), (0.9, 1.0, 1)]
    assert [b.stated for b in bins] == pytest.approx([0.75, 0.95], abs=1e-12)
    assert [b.seen for b in bins] == pytest.approx([0.5, 0.6], abs=1e-12)
    assert bins[0].seen_se == pytest.approx(0.5, abs=1e-12) and math.isnan(bins[1].seen_se)
    assert expected_calibration_error(bins) == pytest.approx((2 * 0.25 + 2 * 0.35) / 4, abs=1e-12)
    assert overconfidence(bins) == pytest.approx(0.3, abs=1e-12)


def test_the_stored_order_does_not_matter():
    torch.manual_seed(0)
    logit, target = torch.randn(50, dtype=torch.float64), torch.rand(50, dtype=torch.float64)
    turned = torch.rand(50) < 0.5
    other = reliability_diagram(torch.where(turned, -logit, logit), torch.where(turned, 1 - target, target))
    first = reliability_diagram(logit, target)
    for a, b in zip(first, other, strict=True):
        assert a.to_json() == pytest.approx(b.to_json(), abs=1e-12, nan_ok=True)
    swapped = brier(torch.where(turned, -logit, logit), torch.where(turned, 1 - target, target))
    assert brier(logit, target) == pytest.approx(swapped, abs=1e-12)


def test_labels_drawn_from_the_stated_probabilities_are_calibrated_and_twice_the_logit_is_not():
    g = torch.Generator().manual_seed(1)
    s = 2 * torch.randn(40_000, generator=g, dtype=torch.float64)
    t = (torch.rand(40_000, generator=g, dtype=torch.float64) < torch.sigmoid(s)).double()
    assert expected_calibration_error(reliability_diagram(s, t)) < 0.01
    twice = reliability_diagram(2 * s, t)
    expected = (torch.sigmoid(2 * s.abs()) - torch.sigmoid(s.abs())).mean().item()
    assert overconfidence(twice) == pytest.approx(expected, abs=0.01)


def test_noisy_labels_are_met_by_their_reliability():
    """eta = .8: s = ln 9 states .9, its label is the stored order with .8 * .9 + .2 * .1 = .74."""
    told = label_logit(numbers(math.log(9)), numbers(0.8))
    assert torch.sigmoid(told).item() == pytest.approx(0.74, abs=1e-12)
    g = torch.Generator().manual_seed(2)
    s = 2 * torch.randn(40_000, generator=g, dtype=torch.float64)
    truth = torch.rand(40_000, generator=g, dtype=torch.float64) < torch.sigmoid(s)
    label = (truth == (torch.rand(40_000, generator=g) < 0.8)).double()
    plain = expected_calibration_error(reliability_diagram(s, label))
    noisy = expected_calibration_error(reliability_diagram(label_logit(s, torch.full_like(s, 0.8)), label))
    assert noisy < 0.012 and plain > 0.1


def test_agreement_and_the_value_at_zero():
    assert agreement(numbers(2.0, -2.0, 0.0), numbers(0.7, 0.7, 0.7)).tolist() == pytest.approx([0.7, 0.3, 0.5])
    assert brier(numbers(0.0), numbers(1.0)) == 0.25
    assert math.isnan(expected_calibration_error([]))
