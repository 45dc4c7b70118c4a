"""Cal-DPO by hand."""

from __future__ import annotations

from math import exp, log, log1p

import pytest

from assent import LCPO, CalDPO
from hand import pair, slopes, value


def test_golden_values() -> None:
    # beta .25: targets 2 and -2; x = 3, 1: log(1 + e^-2) + 1^2 + 3^2
    assert value(CalDPO(0.25)(pair(3.0, 1.0))) == pytest.approx(log1p(exp(-2)) + 10, abs=1e-14)
    assert value(CalDPO(0.25, c=0.5)(pair(2.0, -2.0))) == pytest.approx(log1p(exp(-4)), abs=1e-15)


def test_start() -> None:
    scores = pair(0.0, 0.0)
    loss = CalDPO(0.25, c=0.5)(scores)
    assert value(loss) == pytest.approx(log(2) + 0.5 * 8, abs=1e-15)
    assert slopes(scores, loss) == pytest.approx((-0.5 - 2, 0.5 + 2), abs=1e-15)


def test_the_logit_is_linear_in_the_margin() -> None:
    scores, objective = pair(3.0, 1.0), CalDPO(0.25, c=0.5)
    by_hand = value(objective(scores.swapped()) - objective(scores))
    assert value(LCPO(objective).logit(scores)) == pytest.approx(by_hand, abs=1e-13) == pytest.approx(10.0, abs=1e-13)
