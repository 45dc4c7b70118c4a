"""The weighted mean's standard error by hand."""

from __future__ import annotations

import math

import pytest
import torch

from assent.diagnostics.mean import Mean


def test_equal_weights_give_the_textbook_error():
    values = torch.tensor([1.0, 2.0, 4.0, 9.0], dtype=torch.float64)
    found = Mean.of(values)
    assert found.mean == 4.0
    assert found.standard_error == pytest.approx(values.std().item() / 2, abs=1e-12)


def test_weights_by_hand_and_fillers_do_not_count():
    """Mean (3 + 7) / 4 = 2.5; (3 * -1.5)^2 + 4.5^2 = 40.5; sqrt(2 * 40.5) / 4 = 2.25."""
    found = Mean.of(torch.tensor([1.0, 7.0, 99.0]), torch.tensor([3.0, 1.0, 0.0]))
    assert found == pytest.approx((2.5, 2.25), abs=1e-12)
    assert math.isnan(Mean.of(torch.tensor([5.0])).standard_error)
    assert math.isnan(Mean.of(torch.tensor([]), torch.tensor([])).mean)
