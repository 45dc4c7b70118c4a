"""TGDPO by hand, and the identities of its sheet."""

from __future__ import annotations

from math import exp, log1p

import pytest
import torch

from assent import DPO, TGDPO
from hand import value
from hand_tokens import side, token_pair, token_slopes


def _pair(rewards: tuple[list[float], list[float]] = ([1.0, -0.5], [2.0])) -> object:
    # log-ratios 1 and 3 of the chosen tokens, 2 of the rejected one
    return token_pair(side([1.0, 3.0], reward=[rewards[0]]), side([2.0], reward=[rewards[1]]))


def test_golden_values() -> None:
    # alpha 1/2: weights 1.5, .75 and (1 - 1) = 0: margin .1 (1.5 + 2.25 - 0) = .375
    assert value(TGDPO(0.1, 0.5)(_pair())) == pytest.approx(log1p(exp(-0.375)), abs=1e-12)
    # a guide with log-probabilities 2, -1 and 4 over a reference of 0: r = .1 (2, -1, 4), alpha 1
    # margin .1 (1.2 * 1 + .9 * 3 - .6 * 2) = .27
    guided = _pair(([2.0, -1.0], [4.0]))
    assert value(TGDPO(0.1, 1.0, source="logp")(guided)) == pytest.approx(log1p(exp(-0.27)), abs=1e-12)


def test_token_slopes() -> None:
    scores = _pair()
    chosen, rejected = token_slopes(scores, TGDPO(0.1, 0.5)(scores))
    s = 0.1 / (1 + exp(0.375))
    assert chosen == pytest.approx([-1.5 * s, -0.75 * s], abs=1e-12)
    assert rejected == pytest.approx([0.0], abs=1e-12)


def test_its_margin_is_dpos_plus_a_term_that_knows_no_label() -> None:
    scores = _pair()
    # sum of r u over both sides: 1 - 1.5 + 4 = 3.5; times alpha beta = .175; DPO's margin .2
    for pair, margin in ((scores, 0.2), (scores.swapped(), -0.2)):
        chosen, rejected = TGDPO(0.1, 0.5).rewards(pair)
        assert value(chosen - rejected) == pytest.approx(margin + 0.175, abs=1e-12)


def test_equal_sides_still_pull_towards_the_guide() -> None:
    same = token_pair(side([1.0, 2.0], reward=[[0.5, 1.0]]), side([1.0, 2.0], reward=[[0.5, 1.0]]))
    # margin 2 alpha beta sum r u = 2 * .5 * .1 * 2.5 = .25
    assert value(TGDPO(0.1, 0.5)(same)) == pytest.approx(log1p(exp(-0.25)), abs=1e-12)
    assert value(DPO(0.1)(same)) == pytest.approx(0.6931471805599453, abs=1e-12)


def test_no_reward_or_no_weight_is_dpo() -> None:
    blank = _pair(([0.0, 0.0], [0.0]))
    assert value(TGDPO(0.1, 0.5)(blank)) == pytest.approx(value(DPO(0.1)(blank)), abs=1e-15)
    assert value(TGDPO(0.1, 0.0)(_pair())) == pytest.approx(value(DPO(0.1)(_pair())), abs=1e-15)


def test_no_gradient_through_the_rewards() -> None:
    scores = _pair()
    given = scores.chosen.tokens.columns["reward"].requires_grad_()
    slope = torch.autograd.grad(TGDPO()(scores).sum(), given, allow_unused=True)
    assert slope == (None,)
