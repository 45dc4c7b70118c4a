"""IPO by hand."""

from __future__ import annotations

import pytest

from assent import DPO, IPO, LCPO
from hand import pair, slopes, value


def test_golden_values() -> None:
    # h = 3 - 1 = 2, 1 / (2 tau) = 5 at tau .1: (2 - 5)^2 = 9
    assert value(IPO(0.1)(pair(3.0, 1.0))) == pytest.approx(9.0, abs=1e-12)
    # per token: 3/3 - 1/2 = .5; (.5 - 5)^2 = 20.25
    assert value(IPO(0.1, per="token")(pair(3.0, 1.0, length=(3.0, 2.0)))) == pytest.approx(20.25, abs=1e-12)


def test_start_minimum_and_slope() -> None:
    scores = pair(0.0, 0.0)
    loss = IPO(0.1)(scores)
    assert value(loss) == pytest.approx(1 / (4 * 0.1**2), abs=1e-12)
    assert slopes(scores, loss) == pytest.approx((-10.0, 10.0), abs=1e-12)
    assert value(IPO(0.1)(pair(5.0, 0.0))) == pytest.approx(0.0, abs=1e-12)


def test_its_induced_logit_is_that_of_dpo_with_beta_two_over_tau() -> None:
    scores = pair(0.3, -0.2)
    ours, theirs = LCPO(IPO(0.1)).logit(scores), LCPO(DPO(20.0)).logit(scores)
    assert value(ours) == pytest.approx(value(theirs), abs=1e-12) == pytest.approx(10.0, abs=1e-12)
