"""The world of the four levers: exact slopes against autograd on the objective itself, labels, and what is read when."""

from __future__ import annotations

import torch
from torch.testing import assert_close

from assent.worlds import levers


def test_ppo_climbs_the_regularised_reward() -> None:
    world = levers.draw((0,))
    weights = torch.randn(levers.WORLDS, 10, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    theta = (world.reference + 0.3).requires_grad_()
    phi = world.phi[:, : levers.PROMPTS]
    own, ref = levers.logp(phi, theta), levers.logp(phi, world.reference)
    reward = torch.einsum("mxyd,md->mxy", phi, weights)
    goal = (own.exp() * (reward - levers.BETA * (own - ref))).sum(-1).mean(-1).sum()
    (expected,) = torch.autograd.grad(-goal, theta)
    assert_close(levers.ppo(world, weights)(theta), expected, rtol=1e-10, atol=1e-12)


def test_dpo_is_logistic_regression_on_features() -> None:
    world = levers.draw((3,))
    a, b = world.sides(levers.SEEN)
    theta, label = world.reference + 0.5, 2 * world.labels(0.3) - 1
    margin = levers.BETA * torch.einsum("mnd,md->mn", a - b, theta - world.reference) * label
    expected = -torch.einsum("mn,mnd->md", torch.sigmoid(-margin) * label * levers.BETA, a - b) / levers.PAIRS
    assert_close(levers.dpo(world, 0.3)(theta), expected, rtol=1e-10, atol=1e-12)


def test_pairs_labels_and_worlds() -> None:
    world = levers.draw((1, 2))
    assert (world.pick[..., 0] != world.pick[..., 1]).all()
    assert (world.pick[..., 0] // levers.RESPONSES == world.pick[..., 1] // levers.RESPONSES).all()
    assert world.pick.max() < levers.PROMPTS * levers.RESPONSES, "extra prompts have no labels"
    turned = (world.labels(0.3) != world.labels(0.0)).double().mean()
    assert abs(turned - 0.3) < 0.03 and abs((world.labels(0.0) - world.p).mean()) < 0.02
    alone = levers.draw((2,))
    assert_close(alone.pick, world.pick[levers.WORLDS :], rtol=0, atol=0)


def test_it_reads_at_the_first_step_beyond_the_divergence() -> None:
    world = levers.draw((0,))
    still = levers.fit(world, torch.zeros_like, steps=3)
    assert_close(still, levers.value(world, world.reference))
    towards = levers.fit(world, lambda theta: -0.05 * world.w[:, : levers.SEEN], steps=200)
    steps = torch.arange(1, 201)
    for m in range(levers.WORLDS):
        line = world.reference[m] + 0.05 * steps[:, None] * world.w[m, : levers.SEEN]
        held = world.held[m].expand(200, -1, -1, -1)
        now, before = levers.logp(held, line), levers.logp(held, world.reference[m].expand(200, -1))
        first = int(((now.exp() * (now - before)).sum(-1).mean(-1) >= 1.0).nonzero()[0])
        assert_close(towards[m], levers.value(world, line[first].expand(levers.WORLDS, -1))[m])
