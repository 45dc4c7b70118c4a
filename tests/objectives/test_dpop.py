"""DPO-Positive by hand."""

from __future__ import annotations

from math import exp, log, log1p

import pytest

from assent import DPO, DPOP
from hand import pair, slopes, value


def test_golden_values() -> None:
    # x_w = -1, x_l = -3, lam 2: beta (2 - 2 * 1) = 0
    assert value(DPOP(0.3, 2.0)(pair(-1.0, -3.0))) == pytest.approx(log(2), abs=1e-15)
    # x_w = -2, x_l = 1, lam 2, beta .5: .5 (-3 - 4) = -3.5
    assert value(DPOP(0.5, 2.0)(pair(-2.0, 1.0))) == pytest.approx(log1p(exp(3.5)), abs=1e-14)


def test_a_chosen_side_above_the_reference_is_dpo() -> None:
    scores = pair(0.5, -3.0)
    assert value(DPOP(0.3, 50.0)(scores)) == value(DPO(0.3)(scores))


def test_slopes_below_the_reference_and_at_the_start() -> None:
    scores = pair(-1.0, -3.0)  # margin 0, so the weight is 1/2
    assert slopes(scores, DPOP(0.3, 2.0)(scores)) == pytest.approx((-0.3 * 3 * 0.5, 0.3 * 0.5), abs=1e-15)
    start = pair(0.0, 0.0)  # the kink: the penalty has no slope
    assert slopes(start, DPOP(0.3, 2.0)(start)) == pytest.approx((-0.15, 0.15), abs=1e-15)
