"""Plackett-Luce by hand."""

from __future__ import annotations

from itertools import permutations
from math import exp, log

import pytest
from grouped import grouped, slopes

from assent import DPO, PlackettLuce
from hand import pair, value


def test_golden_values() -> None:
    # weights 3, 2, 1 ranked so: (3/6)(2/3)(1/1) = 1/3
    scores = grouped([log(3.0), log(2.0), 0.0], [5.0, 4.0, 1.0])
    assert PlackettLuce(1.0)(scores).item() == pytest.approx(log(3), abs=1e-15)
    # ranked the other way round: (1/6)(2/5) = 1/15
    scores = grouped([log(3.0), log(2.0), 0.0], [1.0, 4.0, 5.0])
    assert PlackettLuce(1.0)(scores).item() == pytest.approx(log(15), abs=1e-14)


def test_start_and_groups_of_two() -> None:
    assert PlackettLuce(0.1)(grouped([0.0] * 4, [4.0, 3.0, 2.0, 1.0])).item() == pytest.approx(log(24), abs=1e-14)
    found = PlackettLuce(0.3)(grouped([0.7, -0.4], [1.0, 0.0])).item()
    assert found == pytest.approx(value(DPO(0.3)(pair(0.7, -0.4))), abs=1e-15)


def test_probabilities_of_all_rankings_add_up_to_one() -> None:
    ranks = permutations([3.0, 2.0, 1.0])
    total = sum(exp(-PlackettLuce(0.8)(grouped([0.3, -1.0, 2.0], r)).item()) for r in ranks)
    assert total == pytest.approx(1.0, abs=1e-14)


def test_ties_stand_in_each_others_sum_in_any_order() -> None:
    # a tie for the first place among weights 2, 1, 1: (2/4)(1/4)(1/1)
    scores = grouped([log(2.0), 0.0, 0.0], [7.0, 7.0, 1.0])
    assert PlackettLuce(1.0)(scores).item() == pytest.approx(log(8), abs=1e-14)
    turned = grouped([0.0, log(2.0), 0.0], [7.0, 7.0, 1.0])
    assert PlackettLuce(1.0)(turned).item() == pytest.approx(log(8), abs=1e-14)
    tie = grouped([0.0, 0.0], [1.0, 1.0])
    assert slopes(PlackettLuce(1.0)(tie), tie) == pytest.approx([0.0, 0.0], abs=1e-15)
