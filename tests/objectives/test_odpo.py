"""ODPO by hand."""

from __future__ import annotations

from dataclasses import replace
from math import e, exp, log, log1p

import pytest
import torch

from assent import LCPO, ODPO, AssentError, Column, PairScores
from hand import pair, value


def with_gap(gap: float, scores: PairScores) -> PairScores:
    return replace(scores, columns={"margin": Column(torch.tensor([gap], dtype=torch.float64), "negate")})


def test_golden_values() -> None:
    # beta .5, log-ratios 1 and -1: margin 1; gap e^2, alpha .25: offset .5
    scores = with_gap(e**2, pair(1.0, -1.0))
    assert value(ODPO(0.5, 0.25)(scores)) == pytest.approx(log1p(exp(-0.5)), abs=1e-14)
    # the gap itself: offset .25 * 2
    assert value(ODPO(0.5, 0.25, f="linear")(with_gap(2.0, pair(1.0, -1.0)))) == pytest.approx(log1p(exp(-0.5)))
    # a gap below 1 lowers the bar: log .5
    assert value(ODPO(0.5, 1.0)(with_gap(0.5, pair(1.0, -1.0)))) == pytest.approx(log1p(exp(-1 - log(2))), abs=1e-14)


def test_the_logit_is_the_margin_less_the_offset() -> None:
    scores = with_gap(e**2, pair(1.0, -1.0))
    assert value(LCPO(ODPO(0.5, 0.25)).logit(scores)) == pytest.approx(0.5, abs=1e-14)


def test_equal_scores_have_no_offset() -> None:
    assert value(ODPO(0.5, 1.0)(with_gap(0.0, pair(1.0, -1.0)))) == pytest.approx(log1p(exp(-1)), abs=1e-15)


def test_the_gap_is_asked_for() -> None:
    with pytest.raises(AssentError, match="'margin' is not in the data"):
        ODPO()(pair(1.0, -1.0))
    with pytest.raises(AssentError, match="f is 'exp'"):
        ODPO(f="exp")
