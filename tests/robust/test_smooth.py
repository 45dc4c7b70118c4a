"""Label smoothing by hand; over DPO it is cDPO."""

from __future__ import annotations

from math import log

import pytest

from assent import DPO, IPO, Smooth, parse
from hand import pair, slopes, value


def test_golden_values() -> None:
    # margin 1: .8 x .3132616875 + .2 x 1.3132616875 = .5132616875
    assert value(Smooth(DPO(0.5), 0.2)(pair(1.0, -1.0))) == pytest.approx(0.5132616875182228, abs=1e-15)
    # IPO at h = 2, tau .1: .9 x 9 + .1 x 49 = 13
    assert value(Smooth(IPO(0.1), 0.1)(pair(2.0, 0.0))) == pytest.approx(13.0, abs=1e-12)


def test_over_dpo_it_adds_eps_times_the_margin_and_rests_at_the_logit() -> None:
    scores = pair(1.0, -1.0)
    assert value(parse("cdpo(beta=0.5, eps=0.2)")(scores)) == pytest.approx(value(DPO(0.5)(scores)) + 0.2, abs=1e-15)
    still = pair(log(0.8 / 0.2), 0.0)
    assert slopes(still, Smooth(DPO(1.0), 0.2)(still)) == pytest.approx((0.0, 0.0), abs=1e-15)


def test_no_smoothing_is_the_base() -> None:
    scores = pair(1.0, -1.0)
    assert value(Smooth(DPO(0.5), 0.0)(scores)) == value(DPO(0.5)(scores))
