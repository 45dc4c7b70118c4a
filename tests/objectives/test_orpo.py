"""ORPO by hand."""

from __future__ import annotations

from math import log

import pytest
import torch

from assent import ORPO, SFT, AssentError, parse
from hand import pair, slopes, value


def test_golden_values() -> None:
    # p = .8 and .5 per token: odds 4 and 1; -log(4/5) of sigmoid(log 4), half of it, plus NLL -log .8
    scores = pair(2 * log(0.8), 3 * log(0.5), length=(2.0, 3.0))
    assert value(ORPO(0.5)(scores)) == pytest.approx(-1.5 * log(0.8), abs=1e-14)
    # p = .2 and .5: odds 1/4 and 1: sigmoid(-log 4) = 1/5; -log .2 (1 + lam)
    assert value(ORPO(1.0)(pair(log(0.2), log(0.5)))) == pytest.approx(-2 * log(0.2), abs=1e-14)


def test_equal_sides_and_no_odds() -> None:
    scores = pair(-6.0, -4.0, length=(3.0, 2.0))
    assert value(ORPO(0.3)(scores)) == pytest.approx(2 + 0.3 * log(2), abs=1e-14)
    assert value(ORPO(0.0)(scores)) == value(SFT()(scores))


def test_it_is_asft_plus_the_odds_of_disagreement() -> None:
    # lam log(p_w (1 - p_l) + p_l (1 - p_w)) over ASFT's -log p_w - lam log p_w - lam log(1 - p_l)
    p, q, lam = 0.3, 0.6, 0.7
    asft = -log(p) - lam * log(p) - lam * log(1 - q)
    found = value(ORPO(lam)(pair(log(p), log(q))))
    assert found == pytest.approx(asft + lam * log(p * (1 - q) + q * (1 - p)), abs=1e-14)


def test_a_certain_completion_has_finite_odds_and_the_right_slope() -> None:
    scores = pair(0.0, -1.0)
    up, _ = slopes(scores, ORPO(1.0)(scores))
    # a probability of 1 - delta has -1 - e^-1 / (1 - e^-1) = -1.58; at 1 the bounded odds leave less of the second part
    assert -1.59 < up < -1
    half = pair(-1.0, 0.0)
    _, down = slopes(half, ORPO(1.0)(half))
    assert 0 < down < torch.inf


def test_the_other_name_of_the_field() -> None:
    with pytest.raises(AssentError, match="lam"):
        parse("orpo(beta=0.1)")
