"""SimPO by hand."""

from __future__ import annotations

from math import exp, log

import pytest

from assent import LCPO, SimPO
from hand import pair, value


def test_golden_values() -> None:
    # means -1 and -2, beta 2: u = 2; less gamma .5: log(1 + e^-1.5) = .2014132779
    assert value(SimPO()(pair(-3.0, -4.0, length=(3.0, 2.0)))) == pytest.approx(0.20141327798275246, abs=1e-15)
    # equal means: log(1 + e^gamma) whatever the lengths
    assert value(SimPO(2.5, 1.4)(pair(-6.0, -2.0, length=(3.0, 1.0)))) == pytest.approx(log(1 + exp(1.4)), abs=1e-14)


def test_doubling_every_token_changes_nothing() -> None:
    once, twice = pair(-3.0, -4.0, length=(3.0, 2.0)), pair(-6.0, -8.0, length=(6.0, 4.0))
    assert value(SimPO()(once)) == value(SimPO()(twice))


def test_induced_logit_of_a_shifted_margin() -> None:
    # s = softplus(u + gamma) - softplus(gamma - u); its slope at 0 is 2 sigmoid(gamma); s = u for gamma = 0
    s = value(LCPO(SimPO(2.0, 0.5)).logit(pair(-3.0, -4.0, length=(3.0, 2.0))))
    assert s == pytest.approx(log(1 + exp(2.5)) - log(1 + exp(-1.5)), abs=1e-14)
    near = value(LCPO(SimPO(1.0, 1.4)).logit(pair(1e-6, 0.0))) / 1e-6
    assert near == pytest.approx(2 / (1 + exp(-1.4)), abs=1e-5)
    assert value(LCPO(SimPO(1.0, 0.0)).logit(pair(0.7, 0.0))) == pytest.approx(0.7, abs=1e-14)
