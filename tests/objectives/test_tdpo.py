"""TDPO by hand."""

from __future__ import annotations

from math import log

import pytest
import torch

from assent import DPO, TDPO1, TDPO2
from hand import value
from hand_tokens import side, token_pair


def _pair() -> object:
    # chosen: log-ratios 1, 2 and KLs .5, .25; rejected: log-ratio .5 and KL 1.75
    return token_pair(side([1.0, 2.0], kl_ref=[[0.5, 0.25]]), side([0.5], kl_ref=[[1.75]]))


def test_golden_values() -> None:
    # h = 3 - .5 = 2.5, K_l - K_w = 1.75 - .75 = 1: margin 1.5
    assert value(TDPO1(1.0)(_pair())) == pytest.approx(log(1 + 2.718281828459045**-1.5), abs=1e-12)
    # alpha = 1/2: margin 2.5 - .5 = 2, log(1 + e^-2) = .126928011042973
    assert value(TDPO2(1.0, 0.5)(_pair())) == pytest.approx(0.126928011042973, abs=1e-12)


def test_alpha_one_has_the_value_of_tdpo1_and_another_gradient() -> None:
    slopes = []
    for objective in (TDPO1(1.0), TDPO2(1.0, 1.0)):
        scores = _pair()
        loss = objective(scores)
        assert value(loss) == pytest.approx(0.201413277982752, abs=1e-12)
        kl = (scores.chosen.tokens.kl_ref, scores.rejected.tokens.kl_ref)
        found = torch.autograd.grad(loss.sum(), kl, allow_unused=True, materialize_grads=True)
        slopes.append([g.tolist() for g in found])
    # s = sigmoid(-1.5) = .18242552380635635; the chosen side's KL lifts the margin in TDPO 1 only
    s = pytest.approx(0.18242552380635635, abs=1e-12)
    assert [-x for x in slopes[0][0]] == [s, s] and slopes[0][1] == [s]
    assert slopes[1][0] == [0.0, 0.0] and slopes[1][1] == [s]


def test_alpha_zero_is_dpo_and_rewards_carry_the_margin() -> None:
    scores = _pair()
    assert value(TDPO2(0.3, 0.0)(scores)) == pytest.approx(value(DPO(0.3)(scores)), abs=1e-15)
    chosen, rejected = TDPO1(0.3).rewards(scores)
    assert value(chosen - rejected) == pytest.approx(0.3 * 1.5, abs=1e-12)
