from __future__ import annotations

import pytest

from assent.diagnostics.memorising import accuracy_gap


def test_gap_and_error_by_hand():
    found = accuracy_gap(0.9, 100, 0.5, 25)
    assert found.gap == pytest.approx(0.4)
    assert found.standard_error == pytest.approx((0.0009 + 0.01) ** 0.5)
    assert found.beyond(0.15) and not found.beyond(0.5)


def test_a_small_sample_is_no_evidence():
    assert accuracy_gap(0.8, 4, 0.5, 4).gap > 0.15
    assert not accuracy_gap(0.8, 4, 0.5, 4).beyond(0.15)
