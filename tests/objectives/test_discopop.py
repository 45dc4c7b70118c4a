"""DiscoPOP by hand, and the two turning points that its authors' defaults have."""

from __future__ import annotations

from math import log

import pytest

from assent import DiscoPOP
from hand import pair, slopes, value


def test_golden_values() -> None:
    # tau 1, beta 1, m = log 3: k = 3/4; .25 log(4/3) + .75 / 3
    assert value(DiscoPOP(1.0, 1.0)(pair(log(3.0), 0.0))) == pytest.approx(0.25 * log(4 / 3) + 0.25, abs=1e-15)
    # m = -log 3: k = 1/4; .75 log 4 + .25 * 3
    assert value(DiscoPOP(1.0, 1.0)(pair(-log(3.0), 0.0))) == pytest.approx(0.75 * log(4) + 0.75, abs=1e-15)


def test_start_and_turning_points() -> None:
    assert value(DiscoPOP()(pair(0.0, 0.0))) == pytest.approx(0.8465735902799727, abs=1e-15)
    for h, height in ((-2.3714, 0.78592), (1.4401, 0.87829)):
        scores = pair(h, 0.0)
        loss = DiscoPOP()(scores)
        assert value(loss) == pytest.approx(height, abs=5e-6)
        assert slopes(scores, loss)[0] == pytest.approx(0.0, abs=1e-5)


def test_far_margins_do_not_multiply_nothing_by_infinity() -> None:
    # m = -500: k e^-m = e^(-10000 + 500) is nothing, the logistic part 500 is left
    assert value(DiscoPOP()(pair(-1e4, 0.0))) == pytest.approx(500.0)
    assert value(DiscoPOP()(pair(1e4, 0.0))) == 0.0
