"""Ranking by the policy's own likelihood against the paper's definitions and theorems."""

from __future__ import annotations

import math

import pytest
import torch

from assent.diagnostics.ranking import exact_order, idealised_range, ranked_right, ranked_with_ties, transition


def numbers(*values):
    return torch.tensor(values, dtype=torch.float64)


def test_equal_probabilities_count_as_right():
    found = ranked_right(numbers(-3.0, -5.0, -2.0), numbers(-3.0, -4.0, -9.0))
    assert found.tolist() == [1.0, 0.0, 1.0]


def test_ties_of_the_raters_want_equal_probabilities():
    first, second = numbers(0.30, 0.30, 0.30, 0.2).log(), numbers(0.295, 0.28, 0.28, 0.4).log()
    found = ranked_with_ties(first, second, numbers(0.5, 0.5, 0.8, 0.2))
    assert found.tolist() == [1.0, 0.0, 1.0, 1.0]
    assert ranked_with_ties(numbers(-800.0), numbers(-900.0), numbers(0.5)).item() == 1.0  # exp(-800) is 0 in float64


def test_the_whole_order_of_a_group():
    logp = numbers(-1.0, -2.0, -3.0, -5.0, -4.0, -1.0)
    score = numbers(3.0, 2.0, 2.0, 2.0, 1.0, 2.0)
    assert exact_order(logp, score, torch.tensor([0, 0, 0, 1, 1, 1])).tolist() == [1.0, 0.0]
    assert exact_order(logp.flip(0), score.flip(0), torch.tensor([0, 0, 0, 1, 1, 1])).tolist() == [0.0, 1.0]


def test_idealised_accuracy_by_hand():
    """c = 10 and t = .9: logit(.9) / beta > 10 exactly when beta < .2197; t = 1 counts as .999."""
    assert math.log(9) / 10 == pytest.approx(0.21972, abs=1e-5)
    found = idealised_range(numbers(10.0), numbers(0.9), betas=(0.21, 0.22))
    assert (found.least, found.median, found.largest) == (0.0, 0.5, 1.0)
    edge = math.log(999)
    found = idealised_range(numbers(edge - 1e-6, edge + 1e-6), numbers(1.0, 1.0), betas=(1.0,))
    assert found.median == 0.5


def test_a_coin_flip_is_ranked_as_the_reference_does():
    c = numbers(-3.0, -1.0, 2.0, 4.0)
    assert set(idealised_range(c, torch.full((4,), 0.5, dtype=torch.float64))) == {0.5}


def test_the_limits_of_beta():
    """beta to infinity: the reference's strict accuracy; beta to 0: whether the vote is above one half."""
    c, share = numbers(-3.0, -1.0, 2.0, 4.0, 0.0), numbers(0.2, 0.9, 0.9, 0.6, 0.4)
    assert idealised_range(c, share, betas=(1e9,)).median == pytest.approx(2 / 5)
    assert idealised_range(c, share, betas=(1e-9,)).median == pytest.approx(3 / 5)


def test_transitions_by_hand():
    before, after = numbers(1, 1, 1, 0, 0, 0), numbers(1, 1, 0, 1, 0, 0)
    assert transition(before, after) == {"right_right": 2, "right_wrong": 1, "wrong_right": 1, "wrong_wrong": 2}
