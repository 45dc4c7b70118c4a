"""Tabular policies on labels without sampling error."""

from __future__ import annotations

import torch

from assent.objectives import parse
from assent.worlds import population

REWARD = torch.tensor([[0.0, 1.0, -0.5], [2.0, 0.3, 0.1]], dtype=torch.float64)


def test_every_order_occurs_as_often_as_bradley_terry_says():
    logit = population.differences(REWARD)
    scores = population.pair_scores(torch.zeros_like(REWARD), logit)
    assert logit.shape == (2, 6) and population.differences(REWARD, coincide=True).shape == (2, 9)
    chosen, rejected = population.orders(3)
    assert list(zip(chosen.tolist(), rejected.tolist(), strict=True))[:3] == [(0, 1), (0, 2), (1, 0)]
    assert abs(float(scores.weight[0] + scores.weight[2]) - 1) < 1e-15
    assert abs(float(scores.weight[2]) - 1 / (1 + 2.718281828459045**-1)) < 1e-12


def test_dpo_ends_at_the_rewards():
    found = population.optimum(parse("dpo(beta=2.0)"), population.differences(REWARD), torch.zeros_like(REWARD))
    torch.testing.assert_close(found.softmax(1), (REWARD / 2).softmax(1), atol=1e-8, rtol=0)


def test_liked_and_disliked_weigh_the_same_and_ratios_average_to_one():
    liked = torch.sigmoid(REWARD + torch.tensor([[1.0], [-1.0]]))
    scores = population.liked_scores(torch.zeros_like(REWARD), liked)
    assert torch.allclose(scores.columns["weight"].reshape(2, 6).sum(1), torch.ones(2).double())
    down = (1 - liked).sum(1) / (1 - liked).sum()
    assert abs(float((population.prompt_ratio(liked) * down).sum()) - 1) < 1e-12


def test_settle_rests_where_the_shift_is_the_mean_reward():
    liked = torch.sigmoid(REWARD)
    objective = parse("bco(beta=1.0, mean='row', statistic='previous', decay=0.0)")
    scores = lambda at: population.liked_scores(at, liked)  # noqa: E731
    theta, state = population.settle(objective, scores, torch.zeros_like(REWARD), tol=1e-8)
    now = scores(theta)
    half = now.columns["weight"] * now.log_ratio / 2
    assert abs(float(objective.delta(now, state) - half.sum())) < 1e-6
