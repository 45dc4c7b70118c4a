"""AlphaPO by hand."""

from __future__ import annotations

from math import exp, log, log1p

import pytest

from assent import AlphaPO, SimPO
from hand import pair, slopes, value


def test_golden_values() -> None:
    # p = 1/4 and 1/16 per token, alpha 1/2: (1 - 2) / .5 = -2 and (1 - 4) / .5 = -6; beta .5: margin 2, less .5
    scores = pair(2 * log(0.25), log(1 / 16), length=(2.0, 1.0))
    assert value(AlphaPO(beta=0.5, alpha=0.5, gamma=0.5)(scores)) == pytest.approx(0.20141327798275246, abs=1e-14)
    # alpha -1: (p - 1): margin .5 (.25 - .0625) = .09375
    assert value(AlphaPO(0.5, -1.0, 0.0)(scores)) == pytest.approx(log1p(exp(-0.09375)), abs=1e-14)


def test_it_tends_to_simpo() -> None:
    scores = pair(-3.0, -4.0, length=(3.0, 2.0))
    assert value(AlphaPO(2.0, 1e-8, 0.5)(scores)) == pytest.approx(value(SimPO(2.0, 0.5)(scores)), abs=1e-7)


def test_a_positive_shape_moves_the_less_likely_side_more() -> None:
    scores = pair(-1.0, -3.0)  # slopes are in the ratio p^-alpha
    up, down = slopes(scores, AlphaPO(1.0, 0.5, 0.0)(scores))
    assert -down / up == pytest.approx(exp(0.5 * 2.0))
