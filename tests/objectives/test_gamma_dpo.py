"""Gamma-scaled DPO by hand."""

from __future__ import annotations

from math import exp, log1p

import pytest

from assent import DPO, GammaDPO
from hand import pair, slopes, value


def test_golden_values() -> None:
    # a = 3 - 1 = 2, c = r(l) - r(w) = 4 - (-2) = 6; beta .1, gamma .5: .1 (2 + 3)
    scores = pair(3.0, 1.0, ref=(-2.0, 4.0))
    assert value(GammaDPO(0.1, 0.5)(scores)) == pytest.approx(log1p(exp(-0.5)), abs=1e-12)
    assert value(GammaDPO(0.1, 0.0)(scores)) == pytest.approx(log1p(exp(-0.2)), abs=1e-12)
    assert value(GammaDPO(0.1, 1.0)(scores)) == pytest.approx(value(DPO(0.1)(scores)), abs=1e-12)


def test_at_the_start_the_reference_shows_unless_gamma_is_1() -> None:
    # policy = reference, c = 6: log(1 + exp(beta (1 - gamma) c))
    scores = pair(-2.0, 4.0, ref=(-2.0, 4.0))
    assert value(GammaDPO(0.1, 0.25)(scores)) == pytest.approx(log1p(exp(0.1 * 0.75 * 6)), abs=1e-12)
    assert value(GammaDPO(0.1, 1.0)(scores)) == pytest.approx(0.6931471805599453, abs=1e-12)


def test_slopes() -> None:
    scores = pair(3.0, 1.0, ref=(-2.0, 4.0))
    s = 0.1 / (1 + exp(0.5))
    assert slopes(scores, GammaDPO(0.1, 0.5)(scores)) == pytest.approx((-s, s), abs=1e-12)
