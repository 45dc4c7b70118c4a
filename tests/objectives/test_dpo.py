"""DPO by hand."""

from __future__ import annotations

from math import log

import pytest

from assent import DPO
from hand import pair, slopes, value


def test_golden_values() -> None:
    # log-ratios 1 and -1, beta .5: margin 1, log(1 + e^-1) = .3132616875
    assert value(DPO(0.5)(pair(-1.0, -3.0, ref=(-2.0, -2.0)))) == pytest.approx(0.31326168751822286, abs=1e-15)
    # log-ratios -2 and 2, beta .5: margin -2, log(1 + e^2) = 2.1269280110
    assert value(DPO(0.5)(pair(-4.0, 0.0, ref=(-2.0, -2.0)))) == pytest.approx(2.1269280110429727, abs=1e-15)


def test_at_the_reference_the_loss_is_ln_2_and_the_slope_half_of_beta() -> None:
    scores = pair(-2.0, -5.0, ref=(-2.0, -5.0))
    loss = DPO(0.1)(scores)
    assert value(loss) == pytest.approx(log(2), abs=1e-15)
    assert slopes(scores, loss) == pytest.approx((-0.05, 0.05), abs=1e-15)


def test_the_difference_of_the_orders_is_linear_and_shifts_cancel() -> None:
    scores = pair(-1.0, -3.0)
    assert value(DPO(0.3)(scores) - DPO(0.3)(scores.swapped())) == pytest.approx(-0.3 * 2.0, abs=1e-15)
    assert value(DPO(0.3)(pair(9.0, 7.0))) == pytest.approx(value(DPO(0.3)(scores)), abs=1e-15)
    chosen, rejected = DPO(0.3).rewards(scores)
    assert (value(chosen), value(rejected)) == pytest.approx((-0.3, -0.9))
