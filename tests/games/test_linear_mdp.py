"""Log-barrier policies and estimators of action values, by hand and by their exact laws."""

from __future__ import annotations

import math

import pytest
import torch

from assent import parse
from assent.errors import AssentError
from assent.games import linear_mdp as lm
from assent.scores import GroupScores, Scores
from assent.worlds.stacked import generators

F64 = torch.float64


def drawn(seed: int = 0) -> torch.Generator:
    return generators((seed,), 70)[0]


def unit(g: torch.Generator, arms: int = 6, d: int = 3) -> torch.Tensor:
    x = torch.randn(arms, d, generator=g, dtype=F64)
    return x / x.norm(dim=1, keepdim=True)


def test_log_barrier_by_hand_and_by_its_conditions():
    assert torch.allclose(lm.log_barrier(torch.tensor([3.0, 3.0]), 2.0), torch.tensor([0.5, 0.5], dtype=F64))
    # costs 0 and 3/2 at eta 1: 1/l + 1/(l + 3/2) = 1 has the root l = 3/2 - ... : x = 1/l
    x = lm.log_barrier(torch.tensor([0.0, 1.5]), 1.0)
    l = (0.5 + math.sqrt(0.25 + 6)) / 2
    assert float(x[0]) == pytest.approx(1 / l, abs=1e-14)
    costs = 100 * torch.randn(200, 5, generator=drawn(), dtype=F64)
    x = lm.log_barrier(costs, 0.7)
    left = 0.7 * costs - 1 / x
    assert float((x.sum(-1) - 1).abs().max()) < 1e-14 and float(x.min()) > 0
    assert float(((left - left[:, :1]) / left.abs().amax(1, keepdim=True)).abs().max()) < 1e-10
    assert torch.allclose(lm.log_barrier(costs + 17.0, 0.7), x, atol=1e-11)
    assert bool((x.argsort(1) == costs.argsort(1, descending=True)).all())
    one = lm.log_barrier(torch.tensor([-1e12, 0.0, 0.0]), 1.0)  # one action that dominates
    assert float(one[0]) == pytest.approx(1.0) and float(one[1]) == pytest.approx(1e-12, rel=1e-6)


def test_the_forward_kl_loss_is_least_at_the_weighted_barrier():
    g = drawn(1)
    r, ref = torch.randn(2, 5, generator=g, dtype=F64)
    x = lm.log_barrier(-r, 1.0, weights=0.3 * ref.softmax(0))
    logp = x.log().requires_grad_()
    scores = GroupScores(Scores(logp, ref.log_softmax(0)), torch.zeros(5, dtype=torch.long), r)
    (slope,) = torch.autograd.grad(parse("forward_kl(tau=0.3)")(scores).sum(), logp)
    assert float(slope.abs().max()) < 1e-12
    assert bool((x >= 0.3 * ref.softmax(0) / (0.3 + float(r.max() - r.min()) + 1e-9)).all())  # nothing is given up


def test_estimates_have_the_same_mean_and_different_sizes():
    g = drawn(2)
    for _ in range(20):
        phi = unit(g)
        pi = torch.rand(6, generator=g, dtype=F64)
        pi, gamma = pi / pi.sum(), 1e-3
        inverse = torch.linalg.inv(lm.covariance(phi, pi) + gamma * torch.eye(3, dtype=F64))
        loss = torch.rand(6, generator=g, dtype=F64)
        played, many = torch.arange(6), inverse.expand(6, 3, 3)
        plain = lm.plain_estimate(phi, many, played, loss)
        reduced = lm.reduced_estimate(phi, many, played, loss, pi.expand(6, 6))
        assert torch.allclose(pi @ plain, pi @ reduced, atol=1e-11)
        floor = -torch.einsum("ad,de,ae->a", phi, inverse, phi).sqrt()
        assert bool((reduced >= floor - 1e-9).all())
        assert bool((pi @ reduced**2 <= floor**2 + 1e-9).all())  # observed throughout, not a theorem
        # unbiased up to gamma: E g phi . theta = phi Sd Sigma theta
        theta = torch.randn(3, generator=g, dtype=F64)
        mean = pi @ lm.plain_estimate(phi, many, played, phi @ theta)
        assert torch.allclose(mean, phi @ theta - gamma * phi @ inverse @ theta, atol=1e-10)


def test_no_loss_and_full_loss():
    phi, pi = unit(drawn(3)), torch.full((6,), 1 / 6, dtype=F64)
    inverse = torch.linalg.inv(lm.covariance(phi, pi))
    at = lambda loss: lm.reduced_estimate(phi, inverse, torch.tensor(2), torch.tensor(loss, dtype=F64), pi)  # noqa: E731
    g = phi @ inverse @ phi[2]
    assert torch.allclose(at(1.0) - at(0.0), g) and torch.allclose(
        at(1.0) - g.clamp_min(0), at(0.0) - (-g).clamp_min(0)
    )


def test_resampled_inverse_has_its_mean():
    g, gamma, n = drawn(4), 0.2, 6
    phi = unit(g, 4, 2)
    sigma = lm.covariance(phi, torch.full((4,), 0.25, dtype=F64)) + gamma * torch.eye(2, dtype=F64)
    draws = phi[torch.randint(4, (4000, n), generator=g)]
    found = torch.stack([lm.resampled_inverse(x, gamma) for x in draws])
    eye = torch.eye(2, dtype=F64)
    told = torch.linalg.inv(sigma) @ (eye - torch.linalg.matrix_power(eye - sigma / 2, n + 1))
    assert bool(((found.mean(0) - told).abs() < 4 * found.std(0) / 4000**0.5 + 1e-12).all())


def test_dilated_bonus_of_a_constant():
    horizon, states, actions = 4, 3, 2
    transition = torch.rand(horizon, states, actions, states, generator=drawn(5), dtype=F64)
    transition = transition / transition.sum(-1, keepdim=True)
    policy = torch.full((horizon, states, actions), 0.5, dtype=F64)
    found = lm.dilated_bonus(torch.full((horizon, states, actions), 0.7, dtype=F64), transition, policy)
    told = 0.7 * sum((1 + 1 / horizon) ** i for i in range(horizon))
    assert torch.allclose(found[0], torch.full((states, actions), told, dtype=F64))
    assert (
        told == pytest.approx(0.7 * horizon * ((1 + 1 / horizon) ** horizon - 1))
        and told <= (math.e - 1) * 0.7 * horizon
    )
    assert torch.allclose(found[-1], torch.full((states, actions), 0.7, dtype=F64))


def test_refusals():
    with pytest.raises(AssentError, match="finite"):
        lm.log_barrier(torch.tensor([1.0, float("inf")]), 1.0)
    with pytest.raises(AssentError, match="weights above 0"):
        lm.log_barrier(torch.tensor([1.0, 2.0]), 1.0, weights=torch.tensor([0.0, 1.0]))
