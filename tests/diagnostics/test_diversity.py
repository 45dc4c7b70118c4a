"""Diversity of completions by counting."""

from __future__ import annotations

import math

import pytest

from assent.diagnostics.diversity import distinct, duplicates, self_overlap

SAME, OTHER, SHORT = [1, 2, 3, 2], [1, 2, 9], [7]


def test_distinct_by_hand():
    assert distinct([SAME, OTHER], 1) == pytest.approx(4 / 7)
    assert distinct([SAME, OTHER], 2) == pytest.approx(4 / 5)  # 12 stands in both
    assert math.isnan(distinct([SHORT], 2))


def test_duplicates_count_every_copy():
    assert duplicates([SAME, OTHER, SAME, SHORT]) == 0.5
    assert duplicates([SAME, OTHER]) == 0.0 and math.isnan(duplicates([]))


def test_overlap_is_with_the_others_only():
    assert self_overlap([SAME, OTHER]) == pytest.approx((1 / 3 + 1 / 2) / 2)
    assert self_overlap([SAME, SAME, SHORT]) == 1.0
    assert self_overlap([[1, 1, 1, 1], [2, 3]]) == 0.0  # repeats of its own do not count
    assert math.isnan(self_overlap([SHORT]))
