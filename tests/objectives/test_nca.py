"""NCA and InfoNCA by hand."""

from __future__ import annotations

from math import log

import pytest
from grouped import grouped
from grouped import slopes as group_slopes

from assent import DPO, LCPO, NCA, AssentError, InfoNCA, NCAGroup
from hand import pair, slopes, value

LN2 = 0.6931471805599453


def test_golden_values() -> None:
    # sigmoid(r_w) = 3/4, sigmoid(r_l) = 1/4: -log .75 - log(.25) / 2 - log(.75) / 2
    expected = -1.5 * log(0.75) - 0.5 * log(0.25)
    assert value(NCA(1.0)(pair(log(3.0), -log(3.0)))) == pytest.approx(expected, abs=1e-15)
    # softmax (1/2, 1/4, 1/4), scores log 2, 0, 0 at alpha 1: q = (1/2, 1/4, 1/4): their entropy 1.5 ln 2
    scores = grouped([log(2.0), 0.0, 0.0], [log(2.0), 0.0, 0.0])
    assert InfoNCA(1.0, 1.0)(scores).item() == pytest.approx(1.5 * LN2, abs=1e-14)
    # q = (1/2, 1/4, 1/4); sigmoid 2/3, 1/2, 1/2; noise (log 3 + 2 log 2) / 3
    expected = 0.5 * log(1.5) + 0.5 * log(2) + (log(3) + 2 * log(2)) / 3
    assert NCAGroup(1.0, 1.0)(scores).item() == pytest.approx(expected, abs=1e-14)


def test_start_and_optimum_of_the_pair() -> None:
    start = pair(0.0, 0.0)
    loss = NCA(1.0)(start)
    assert value(loss) == pytest.approx(2 * LN2, abs=1e-15)
    assert slopes(start, loss) == pytest.approx((-0.25, 0.25), abs=1e-15)
    best = pair(LN2, -1.0)
    assert slopes(best, NCA(1.0)(best))[0] == pytest.approx(0.0, abs=1e-15)


def test_groups_of_two_with_one_best_are_the_pairs_losses() -> None:
    two, same = grouped([0.7, -0.4], [1.0, 0.0]), pair(0.7, -0.4)
    assert InfoNCA(0.3)(two).item() == pytest.approx(value(DPO(0.3)(same)), abs=1e-15)
    assert NCAGroup(0.3)(two).item() == pytest.approx(value(NCA(0.3)(same)), abs=1e-15)


def test_equal_best_completions_share_and_scores_of_any_size_do_not_overflow() -> None:
    tied = grouped([0.0, 0.0, 0.0], [9.0, 9.0, 1.0])
    loss = InfoNCA(1.0)(tied)
    assert loss.item() == pytest.approx(log(3), abs=1e-14)
    assert group_slopes(loss, tied) == pytest.approx([1 / 3 - 1 / 2, 1 / 3 - 1 / 2, 1 / 3], abs=1e-14)


def test_the_logit_of_the_pair() -> None:
    # softplus(r_w) terms cancel: softplus(-r_l) - softplus(-r_w) = log 4 - log(4/3)
    assert value(LCPO(NCA(1.0)).logit(pair(log(3.0), -log(3.0)))) == pytest.approx(log(3), abs=1e-14)
    with pytest.raises(AssentError, match="alpha is 0"):
        InfoNCA(alpha=0.0)
