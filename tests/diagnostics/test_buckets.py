"""Accuracy and margin by bucket."""

from __future__ import annotations

import math

import pytest
import torch

from assent.diagnostics.buckets import LENGTH_NAMES, SHOWN, buckets, length_places, named_places, quartile_places


def numbers(*values):
    return torch.tensor(values, dtype=torch.float64)


def test_a_cut_by_hand():
    place, margin = torch.tensor([1, 0, 1, 1]), numbers(2.0, -1.0, -4.0, 0.0)
    first, second = buckets(
        place, ["a", "b", "empty"], margin, numbers(1.0, 0.2, 1.0, 1.0), numbers(1.0, 1.0, 1.0, 2.0)
    )
    assert (first.bucket, first.pairs, first.accuracy, first.margin) == ("a", 1, 0.8, -1.0)
    assert math.isnan(first.accuracy_se)
    assert second.pairs == 3 and second.accuracy == pytest.approx((1 + 0 + 2 * 0.5) / 4, abs=1e-12)
    assert second.margin == pytest.approx(-0.5, abs=1e-12)
    # 3/2 (2.5^2 + 3.5^2 + (2 * .5)^2) = 29.25
    assert second.margin_se == pytest.approx(math.sqrt(29.25) / 4, abs=1e-12)


@pytest.mark.parametrize(
    ("gap", "name"),
    [(-65, "below -64"), (-64, "-64 to -17"), (-17, "-64 to -17"), (-16, "-16 to -5"), (-5, "-16 to -5"), (-4, "-4 to 4"),
     (4, "-4 to 4"), (5, "5 to 16"), (16, "5 to 16"), (17, "17 to 64"), (64, "17 to 64"), (65, "above 64")],
)  # fmt: skip
def test_the_borders_of_length_gaps(gap, name):
    assert LENGTH_NAMES[int(length_places(numbers(float(gap))))] == name


def test_quartiles_hold_a_quarter_each():
    place, names = quartile_places(torch.arange(100.0))
    assert torch.bincount(place).tolist() == [25, 25, 25, 25]
    assert names[0] == "up to 24.8" and names[-1] == "above 74.2"


def test_many_names_become_one_bucket_at_the_end():
    names = [f"n{i:02}" for i in range(SHOWN + 5)] + ["n07"]
    place, kept = named_places(names)
    assert kept[0] == "n07" and kept[-1] == "6 others" and len(kept) == SHOWN
    assert (place == SHOWN - 1).sum() == 6
    assert named_places(["b", "a", "a"])[1] == ["a", "b"]
