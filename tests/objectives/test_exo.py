"""EXO by hand."""

from __future__ import annotations

from math import exp, log, log1p

import pytest
from grouped import grouped

from assent import EXO, LCPO, AssentError, EXOGroup
from hand import pair, slopes, value


def test_golden_values() -> None:
    # q = 3/4 at beta h = log 3, eps .1: .75 log(.75 / .9) + .25 log(.25 / .1)
    expected = 0.75 * log(0.75 / 0.9) + 0.25 * log(2.5)
    assert value(EXO(1.0, 0.1)(pair(log(3.0), 0.0))) == pytest.approx(expected, abs=1e-15)
    # at policy = reference with eps .001: 2.7612
    assert value(EXO()(pair(0.0, 0.0))) == pytest.approx(2.7612, abs=5e-5)
    # groups: policy (3/4, 1/4), data (1/2, 1/2): log 2 less the entropy of the policy
    expected = log(2) + 0.75 * log(0.75) + 0.25 * log(0.25)
    assert EXOGroup(1.0, 0.3)(grouped([log(3.0), 0.0], [5.0, 5.0])).item() == pytest.approx(expected, abs=1e-14)


def test_lowest_where_the_policy_prefers_as_the_data_do() -> None:
    scores = pair(log(9.0) / 0.4, 0.0)
    loss = EXO(0.4, 0.1)(scores)
    assert value(loss) == pytest.approx(0.0, abs=1e-15)
    assert slopes(scores, loss) == pytest.approx((0.0, 0.0), abs=1e-15)
    assert EXOGroup(0.5, 0.25)(grouped([1.0, 3.0, -1.0], [0.125, 0.375, -0.125])).item() == pytest.approx(0, abs=1e-15)


def test_the_labels_of_the_authors_code() -> None:
    # labels (0, -10) un-normalised: q log q + (1 - q)(log(1 - q) + 10) = this loss less log(1 + e^-10)
    eps, q = exp(-10) / (1 + exp(-10)), 0.75
    theirs = q * log(q) + (1 - q) * (log(1 - q) + 10)
    assert value(EXO(1.0, eps)(pair(log(3.0), 0.0))) - log1p(exp(-10)) == pytest.approx(theirs, abs=1e-12)


def test_the_logit_is_bounded() -> None:
    scores, objective = pair(log(3.0), 0.0), EXO(1.0, 0.1)
    assert value(LCPO(objective).logit(scores)) == pytest.approx(0.5 * log(9), abs=1e-15)
    assert value(LCPO(objective).logit(pair(1e4, 0.0))) == pytest.approx(log(9), abs=1e-15)


def test_without_smoothing_the_loss_is_infinite() -> None:
    with pytest.raises(AssentError, match="eps is 0"):
        EXO(eps=0.0)
