"""The didactic bandit: its reference by counting, losses by hand, and runs that share nothing."""

from __future__ import annotations

import math

import torch
from torch.testing import assert_close

from assent.worlds import bandit
from assent.worlds.bandit import Batch, best_of_n, bump, fit, group, pairs, reinforce, weighted

F64 = torch.float64


def test_the_reference_is_what_counting_gives() -> None:
    z = -0.7 + 0.4 * torch.tan(
        math.pi * (torch.rand(400_000, generator=torch.Generator().manual_seed(0), dtype=F64) - 0.5)
    )
    counted = torch.histc(z.tanh(), 100, -1, 1) / len(z)
    assert (counted - bandit.reference()).abs().max() < 1e-3 and abs(bandit.reference().sum() - 1) < 1e-12


def data() -> tuple[torch.Tensor, Batch]:
    """One run, two contexts; all draws are action 5 but for one: action 70 with reward 1, action 20 with reward .1."""
    action = torch.full((1, 2, 10), 5)
    reward = torch.zeros(1, 2, 10, dtype=F64)
    action[0, 0, 3], reward[0, 0, 3] = 70, 1.0
    action[0, 1, 4], reward[0, 1, 4] = 20, 0.1
    ref = torch.full((1, 2, 10, 1), -math.log(100), dtype=F64)
    return action, Batch(reward, ref, ref, reward - reward.mean())


def test_losses_by_hand() -> None:
    logits = torch.zeros(100, dtype=F64)
    logits[70] = 2.0
    every = logits.log_softmax(-1)
    a, b, c = (float(every[k]) for k in (70, 20, 5))
    action, batch = data()
    value = lambda loss: float(loss(every[action][..., None], batch))  # noqa: E731
    assert abs(value(best_of_n()) + (a + b) / 2) < 1e-12
    assert abs(value(best_of_n(0.2)) + a) < 1e-12
    assert abs(value(best_of_n(0.2, 0.5)) + a - 0.5 * c) < 1e-12
    # nine pairs with a gap of 1 have h = 2, the others fall to the filter: (2 - 10)^2
    assert abs(value(pairs("ipo(tau=0.05)", 0.2)) - 64) < 1e-12
    # without it: 9 pairs of h = 2, 9 + 72 pairs of h = 0
    assert abs(value(pairs("ipo(tau=0.05)")) - (9 * 64 + 81 * 100) / 90) < 1e-12
    # mean reward 1.1 / 20: -(1 a + .1 b) / 20 + .055 mean log-probability
    assert abs(value(reinforce()) + (a + 0.1 * b) / 20 - 0.055 * (a + b + 18 * c) / 20) < 1e-12
    # RWR at beta 1, over e: draws without reward count e^-1
    told = -(a + math.exp(-0.9) * b + math.exp(-1) * 18 * c) / 20
    assert abs(value(weighted(1.0)) - told) < 1e-12


def test_draws_of_several_tokens_count_their_sum_and_clip_one_by_one() -> None:
    _, batch = data()
    halves = torch.full((1, 2, 10, 2), -math.log(10), dtype=F64)
    two = Batch(batch.reward, halves, halves, batch.told)
    logp = halves.clone()
    logp[0, 0, 3] += torch.tensor([1.5, 0.5])  # in sum the shift of 2 that the first action had above
    assert abs(float(pairs("ipo(tau=0.05)", 0.2)(logp, two)) - 64) < 1e-12
    # one reward among ten has the advantage (1 - .1) / .3 = 3; both of its tokens' ratios are cut at 1.2, all others are 1
    clipped = group("grpo(clip=0.2, beta=0.0)")
    assert abs(float(clipped(halves, two))) < 1e-6
    assert abs(float(clipped(logp, two)) + 0.2 * 3 / 10 / 2) < 1e-6


def test_a_filter_that_leaves_nothing_moves_nothing() -> None:
    for loss in (best_of_n(2.0), pairs("dpo()", 2.0)):
        assert_close(fit(loss, [bump(20)], (0,), contexts=3, steps=5)[0, 0], bandit.reference(), rtol=0, atol=1e-15)


def test_runs_share_nothing_and_learn() -> None:
    rewards, how = [bump(70), bump(20)], {"contexts": 10, "rounds": 5, "steps": 15}
    both = fit(best_of_n(), rewards, (3, 4), **how)
    alone = fit(best_of_n(), rewards[1:], (4,), **how)
    assert_close(both[1, 1], alone[0, 0], rtol=0, atol=1e-13)
    assert ((both[1] * rewards[1]).sum(-1) > 0.8).all()
