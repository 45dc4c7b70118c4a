"""CoLoR by hand, and the identities of its sheet."""

from __future__ import annotations

from math import log, log1p

import pytest
import torch

from assent import ORPO, CoLoR
from assent.objectives.color import length_factor
from hand import pair, slopes, value

LN2 = 0.6931471805599453


def _pair(chosen: float, rejected: float, gap: float) -> object:
    """Mean log-probabilities of the sides, and how many tokens more the rejected one has than the chosen one's 10."""
    return pair(chosen * 10, rejected * (10 + gap), length=(10.0, 10.0 + gap))


def test_golden_values() -> None:
    # p = 1/2 and 1/4: z = logit(1/2) - logit(1/4) = log 3; a gap of 50 tokens gives m = 5
    scores = _pair(-LN2, -2 * LN2, 50)
    assert value(CoLoR(2.5)(scores)) == pytest.approx(LN2 + 2.5 * log1p(3.0**-5), abs=1e-12)
    # 10 tokens or fewer are plain ORPO
    short = _pair(-LN2, -2 * LN2, 10)
    assert value(CoLoR(2.5)(short)) == pytest.approx(LN2 + 2.5 * log(4 / 3), abs=1e-12)
    assert value(CoLoR(2.5)(short)) == pytest.approx(value(ORPO(2.5)(short)), abs=1e-12)


def test_the_factor_is_piecewise_linear_with_a_kink_at_ten_tokens_and_an_end() -> None:
    factors = [value(length_factor(_pair(-1.0, -1.0, gap), 0.1, 10.0)) for gap in (-5, 0, 9, 10, 20, 70, 100, 150)]
    assert factors == pytest.approx([1, 1, 1, 1, 2, 7, 10, 10], abs=1e-12)


def test_equal_sides_give_ln_2_whatever_the_gap() -> None:
    for gap in (0, 50):
        assert value(CoLoR(2.5)(_pair(-1.0, -1.0, gap))) == pytest.approx(1.0 + 2.5 * LN2, abs=1e-12)


def test_slope_at_equal_sides_is_m_times_orpos() -> None:
    scores = _pair(-LN2, -LN2, 50)
    # dz / d lp = 1 / (1 - p) = 2 per unit of mean log-probability: 1/10 and 1/60 per unit of the sums; m = 5
    chosen, rejected = slopes(scores, CoLoR(2.5)(scores))
    assert chosen == pytest.approx(-0.1 - 2.5 * 5 / 2 * 2 / 10, abs=1e-12)
    assert rejected == pytest.approx(2.5 * 5 / 2 * 2 / 60, abs=1e-12)


def test_a_swap_reads_the_gap_the_other_way_round() -> None:
    scores = _pair(-LN2, -2 * LN2, 50)
    # swapped: the chosen side is the longer one, m = 1 and z = -log 3
    assert value(CoLoR(1.0)(scores.swapped())) == pytest.approx(2 * LN2 + log1p(3.0), abs=1e-12)
    assert torch.isfinite(CoLoR()(_pair(0.0, -1.0, 5))).all()
