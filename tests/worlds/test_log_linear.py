"""The log-linear world and the exact optima of small worlds."""

from __future__ import annotations

import torch

from assent.objectives import parse
from assent.worlds import log_linear, solving, stacked, tabular


def test_labels_are_flipped_at_the_rate_and_follow_bradley_terry():
    world, phi = log_linear.draw((0, 1), 0.2, rows=20_000)
    assert world.x.shape == (2, 20_000, 8) and phi.shape == (2, 200, 6, 8)
    assert (world.right.double().mean(1) - 0.8).abs().max() < 0.02
    s = torch.einsum("mnd,md->mn", world.clean().x, world.truth)
    assert ((s > 0).double().mean(1) - torch.sigmoid(s.abs()).mean(1)).abs().max() < 0.02


def test_regret_is_nothing_at_the_truth_alone():
    world, phi = log_linear.draw((0, 1), 0.0, rows=10)
    assert log_linear.regret(world.truth, phi, world.truth).abs().max() < 1e-12
    by_hand = tabular.value((phi[0] @ world.truth[0])[None], (phi[0] @ world.truth[0])[None])
    flat = tabular.value(torch.zeros(1, 200, 6).double(), (phi[0] @ world.truth[0])[None])
    regret = log_linear.regret(torch.zeros_like(world.truth), phi, world.truth)
    assert abs(float(regret[0] - (by_hand - flat)[0])) < 1e-12 and regret.min() > 0.1


def test_solve_finds_a_quadratics_minimum():
    goal = torch.tensor([[1.0, -2.0], [0.5, 3.0]], dtype=torch.float64)
    found = solving.solve(lambda x: ((x - goal) ** 2 * torch.tensor([1.0, 10.0])).sum(), torch.zeros_like(goal))
    torch.testing.assert_close(found, goal, atol=1e-8, rtol=0)


def test_fit_ends_where_the_slope_is_nothing():
    world, _ = log_linear.draw((0, 1), 0.1, rows=200, features=3)
    objective = parse("rdpo(beta=1.0, eps=0.1)")
    theta = solving.fit(objective, world, l2=1e-2).requires_grad_(True)
    loss = objective(stacked.pair_scores(world, theta)).sum() / 200 + 5e-3 * theta.square().sum()
    (slope,) = torch.autograd.grad(loss, theta)
    assert slope.abs().max() < 1e-7
