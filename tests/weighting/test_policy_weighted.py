"""WPO's weight by hand."""

from __future__ import annotations

from math import exp, log

import pytest
import torch

from assent import DPO, PolicyWeighted, parse
from assent.weighting.policy_weighted import log_typicality
from hand import value
from hand_tokens import side, token_pair, token_slopes


def _pair(chosen: list[float], rejected: list[float], sum_sq: float) -> object:
    left, right = ([[sum_sq] * len(c)] for c in (chosen, rejected))
    return token_pair(side(chosen, sum_sq=left), side(rejected, sum_sq=right))


def test_golden_values() -> None:
    # log v(w) = mean(-2, -3) - log .25 = -2.5 + 2 log 2; log v(l) = -4 + 2 log 2; W = 16 e^-6.5
    scores = _pair([-2.0, -3.0], [-4.0], 0.25)
    weight = 16 * exp(-6.5)
    assert value(PolicyWeighted(DPO(0.1)).weight(scores)) == pytest.approx(weight, abs=1e-15)
    # h = -5 - (-4) = -1
    expected = weight * log(1 + exp(0.1))
    assert value(parse("wpo(beta=0.1)")(scores)) == pytest.approx(expected, abs=1e-15)
    # near-greedy text: log v = -.1 - log .5 on either side, W = 4 e^-.2 > 1 without the clamp, 1 with it
    greedy = _pair([-0.1], [-0.1], 0.5)
    assert value(PolicyWeighted(DPO()).weight(greedy)) == 1.0
    assert value(PolicyWeighted(DPO(), clamp=False).weight(greedy)) == pytest.approx(4 * exp(-0.2), abs=1e-12)


def test_a_uniform_policy_is_dpo() -> None:
    # over V = 8 every token has log-probability -log 8 and the sum of squares is 1/8: v = 1
    scores = _pair([-log(8.0)] * 3, [-log(8.0)] * 2, 1 / 8)
    assert log_typicality(scores.chosen).tolist() == [0.0]
    assert value(parse("wpo(beta=0.1)")(scores)) == pytest.approx(value(DPO(0.1)(scores)), abs=1e-15)


def test_no_gradient_through_the_weight() -> None:
    scores = _pair([-2.0, -3.0], [-4.0], 0.25)
    objective = PolicyWeighted(DPO(0.1))
    found, plain = (token_slopes(scores, x(scores)) for x in (objective, DPO(0.1)))
    weight = 16 * exp(-6.5)
    assert found[0] == pytest.approx([weight * x for x in plain[0]], abs=1e-15)
    assert found[1] == pytest.approx([weight * x for x in plain[1]], abs=1e-15)
    left = torch.autograd.grad(objective(scores).sum(), scores.chosen.tokens.sum_sq, allow_unused=True)
    assert left == (None,)


def test_the_weight_of_a_pair_does_not_depend_on_its_order() -> None:
    scores = _pair([-2.0, -3.0], [-4.0], 0.25)
    objective = parse("wpo()")
    assert value(objective.weight(scores)) == value(objective.weight(scores.swapped()))
    assert str(objective) == "policy_weighted(dpo(beta=0.01), clamp=True)"
