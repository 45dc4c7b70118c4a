"""R-DPO by hand."""

from __future__ import annotations

from math import exp, log1p

import pytest

from assent import DPO, AssentError, LengthDPO, PairScores, parse
from assent.scores import Scores
from hand import pair, slopes, value


def test_golden_values() -> None:
    # beta .5, log-ratios 1 and -1: margin 1; lengths 4 and 2 at alpha .5: + 1
    scores = pair(1.0, -1.0, length=(4.0, 2.0))
    assert value(LengthDPO(0.5, 0.5)(scores)) == pytest.approx(log1p(exp(-2)), abs=1e-15)
    assert value(LengthDPO(0.5, 0.5)(scores.swapped())) == pytest.approx(log1p(exp(2)), abs=1e-14)


def test_equal_lengths_are_dpo() -> None:
    scores = pair(1.0, -1.0, length=(4.0, 4.0))
    assert value(LengthDPO(0.5, 0.5)(scores)) == value(DPO(0.5)(scores))


def test_a_longer_chosen_completion_weighs_less_at_the_start() -> None:
    longer, shorter = pair(0.0, 0.0, length=(9.0, 3.0)), pair(0.0, 0.0, length=(3.0, 9.0))
    weight = 1 / (1 + exp(0.1 * 6))
    assert slopes(longer, LengthDPO(1.0, 0.1)(longer))[0] == pytest.approx(-weight) and weight < 0.5
    assert slopes(shorter, LengthDPO(1.0, 0.1)(shorter))[0] == pytest.approx(weight - 1)


def test_lengths_are_asked_for() -> None:
    one = pair(0.0, 0.0).chosen
    bare = Scores(one.logp, one.ref_logp)
    with pytest.raises(AssentError, match="score with lengths"):
        LengthDPO()(PairScores(bare, bare))
    with pytest.raises(AssentError, match="unbiased"):
        parse("r_dpo(eps=0.1)")
