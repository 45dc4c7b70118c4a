"""GRAO by hand: groups that all lose or all win, ties, the floor, and what lam and beta come to."""

from __future__ import annotations

from dataclasses import replace
from math import sqrt

import pytest
import torch
from grouped import grouped, slopes

from assent.objectives.grao import GRAO


def group(scores, length=1):
    found = grouped([-1.0] * len(scores), scores)
    lengths = torch.full((len(scores),), length)
    return replace(found, completions=replace(found.completions, length=lengths))


def test_all_lose_and_all_win():
    # 8 samples: A_y = sqrt 8 and A_i = -1/sqrt 8 where all lose; the signs turn where all win
    for sign in (-1.0, 1.0):
        found = group([sign] * 8 + [0.0], length=2)
        got = slopes(GRAO(beta=0.5, lam=0.6)(found), found)
        assert got[-1] == pytest.approx(sign * (0.5 + 0.6 / 8) * sqrt(8) / 2, abs=1e-12)
        assert got[:-1] == pytest.approx([-sign * 1.6 / 8 / sqrt(8) / 2] * 8, abs=1e-12)


def test_ties_teach_nothing():
    found = group([0.0] * 5)
    loss = GRAO()(found)
    assert loss.item() == 0.0 and slopes(loss, found) == [0.0] * 5


def test_floor_bounds_the_answer_alone():
    found = group([1.0] * 4 + [0.0])
    free, held = (slopes(GRAO(floor=floor)(found), found) for floor in (None, 0.0))
    assert free[-1] > 0 and held[-1] == 0.0 and held[:-1] == free[:-1]


def test_without_beta_the_answer_is_still_imitated_by_lam():
    found = group([-1.0] * 4 + [0.0])
    assert slopes(GRAO(beta=0.0, lam=0.6)(found), found)[-1] == pytest.approx(-0.6 / 4 * 2.0, abs=1e-12)
    found = group([-1.0] * 4 + [0.0])
    assert slopes(GRAO(beta=0.0, lam=0.0)(found), found)[-1] == 0.0
