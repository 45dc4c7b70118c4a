"""SLiC-HF and hinge-norm by hand."""

from __future__ import annotations

import pytest

from assent import Hinge, SLiC
from hand import pair, slopes, value


def test_golden_values() -> None:
    # d = -2 + 2.5 = .5: hinge 1 - .5, likelihood .1 * 2
    assert value(SLiC()(pair(-2.0, -2.5))) == pytest.approx(0.7, abs=1e-15)
    # d = 3: the hinge is off; .1 * 1 is left
    assert value(SLiC()(pair(-1.0, -4.0))) == pytest.approx(0.1, abs=1e-15)
    # log-ratios 1 and -1, beta .2: margin .4
    assert value(Hinge(0.2)(pair(-1.0, -3.0, ref=(-2.0, -2.0)))) == pytest.approx(0.6, abs=1e-15)


def test_start_and_flat_part_of_hinge_norm() -> None:
    start, far, edge = pair(-2.0, -5.0, ref=(-2.0, -5.0)), pair(6.0, 0.0), pair(5.0, 0.0)
    assert value(Hinge(0.2)(start)) == 1.0
    assert slopes(start, Hinge(0.2)(start)) == pytest.approx((-0.2, 0.2))
    assert value(Hinge(0.2)(far)) == 0.0 and slopes(far, Hinge(0.2)(far)) == (0.0, 0.0)
    assert slopes(edge, Hinge(0.2)(edge)) == (0.0, 0.0)  # the subgradient at the kink


def test_subgradient_of_slic_at_the_kink() -> None:
    scores = pair(-2.0, -3.0)
    assert slopes(scores, SLiC()(scores)) == pytest.approx((-0.1, 0.0), abs=1e-15)


def test_without_reference_and_likelihood_both_are_one_loss() -> None:
    for chosen, rejected in ((-2.0, -2.5), (-5.0, -3.0), (-1.0, -4.0)):
        scores = pair(chosen, rejected)
        assert value(SLiC(1.0, lam=0.0)(scores)) == value(Hinge(1.0)(scores))
