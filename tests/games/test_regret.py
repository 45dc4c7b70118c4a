"""Regret and its tests by hand, known bounds, and the regret loss."""

from __future__ import annotations

import math

import pytest
import torch

from assent.errors import AssentError
from assent.games import matrices
from assent.games import regret as r
from assent.worlds.stacked import generators

F64 = torch.float64


def uniform(*shape: int, seed: int = 0) -> torch.Tensor:
    (g,) = generators((seed,), 5)
    return torch.rand(*shape, generator=g, dtype=F64)


def test_regret_by_hand():
    losses = torch.tensor([[1.0, 0.0], [0.0, 0.5], [1.0, 0.0]], dtype=F64)
    even = torch.full_like(losses, 0.5)
    # played .5, .75, 1.25; the best fixed action has lost 0, .5, .5
    assert torch.allclose(r.regret(losses, even), torch.tensor([0.5, 0.25, 0.75], dtype=F64))
    assert torch.allclose(r.dynamic_regret(losses, even), torch.tensor([0.5, 0.75, 1.25], dtype=F64))
    shifted = losses + torch.tensor([[3.0], [-1.0], [0.5]], dtype=F64)
    assert torch.allclose(r.regret(shifted, even), r.regret(losses, even))


@pytest.mark.parametrize(("rounds", "told"), [(25, 12.25), (100, 49.75), (400, 199.75)])
def test_follow_the_leader_in_its_trap(rounds, told):
    losses = r.trap(rounds)
    assert float(r.regret(losses, r.follow_leader(losses))[-1]) == pytest.approx(told, abs=1e-9)


def test_learners():
    losses = uniform(7, 30, 3)
    nearest = r.lazy_projection(losses, 0.3)
    assert torch.allclose(nearest.sum(-1), torch.ones(7, 30, dtype=F64)) and float(nearest.min()) >= 0
    # the projection minimises <pi, L> + |pi|^2 / (2 alpha)
    cost = lambda pi: (pi * r.past(losses)).sum(-1) + (pi**2).sum(-1) / 0.6  # noqa: E731
    others = torch.distributions.Dirichlet(torch.ones(3, dtype=F64)).sample((200, 7, 30))
    assert bool((cost(others) >= cost(nearest) - 1e-12).all())
    assert torch.allclose(r.hedge(losses, 0.0), torch.full_like(losses, 1 / 3))
    assert torch.allclose(r.hedge(losses, 1e6)[:, 1:], r.follow_leader(losses)[:, 1:], atol=1e-6)
    for alpha in (0.1, 0.5, 2.0):  # Hedge's bound for losses in [0, 1]
        assert float(r.regret(losses, r.hedge(losses, alpha))[:, -1].max()) <= math.log(3) / alpha + alpha * 30 / 8
    online = r.play(lambda seen: (-0.5 * seen.sum(-2)).softmax(-1), losses)
    assert torch.allclose(online, r.hedge(losses, 0.5), atol=1e-14)
    noise = -(-uniform(40_000, 3, seed=1).log()).log() / 0.5  # Gumbel noise of scale 1 / alpha
    assert torch.allclose(r.follow_perturbed(losses[0], -noise), r.hedge(losses[0], 0.5), atol=0.015)


def test_trend_by_hand():
    falling = torch.ones(25, dtype=F64)  # 1/t falls at every step
    found = r.trend_test(falling)
    assert (found.falls, found.p) == (24, 2.0**-24)
    rising = torch.arange(1, 26, dtype=F64) ** 2
    assert r.trend_test(rising).p == 1.0

    def of(falls: int) -> float:
        steps = torch.cat([-torch.ones(falls), torch.ones(24 - falls)]).double()
        return r.trend_test(torch.cat([torch.tensor([100.0]).double(), 100 + steps.cumsum(0)]) * torch.arange(1, 26)).p

    assert of(17) < 0.05 < of(16)


def test_growth_by_hand():
    t = torch.arange(1, 101, dtype=F64)
    half = r.growth_test(3 * t**0.5)
    assert half.exponent == pytest.approx(0.5, abs=1e-12) and half.p_sublinear < 1e-50
    line = r.growth_test(2 * t * (1 + 0.1 * torch.sin(t)))
    # the p of exponent 0 is tiny for linear regret too: the one that counts is not
    assert line.p_zero < 1e-50 and line.p_sublinear > 0.01
    assert r.growth_test(torch.where(t < 10, -1.0, t)).floored == 9


def test_regret_loss_limits():
    losses = uniform(6, 4, 20, 3)
    policies = r.hedge(losses, 0.3)
    final = r.regret(losses, policies)[..., -1].clamp_min(0) ** 2
    value = lambda k, **w: float(r.regret_loss(losses, policies, k, **w))  # noqa: E731
    assert value(0.0) == pytest.approx(float(final.mean()), abs=1e-14)
    assert value(500.0) == pytest.approx(float(final.amax(1).mean()), rel=1e-3)
    assert value(500.0, weights="exp") == pytest.approx(float(final.amax(1).mean()), rel=1e-3)
    grid = [value(k) for k in (0.0, 1.0, 2.0, 5.0)]
    assert grid == sorted(grid)
    one = r.regret_loss(losses[:, :1], policies[:, :1], 3.0)
    assert float(one) == pytest.approx(float(final[:, 0].mean()), abs=1e-14)
    alpha = torch.tensor(0.4, dtype=F64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda a: r.regret_loss(losses, r.hedge(losses, a), 2.0), alpha)


def test_a_repeated_game_settles_on_coarse_equilibria():
    p = matrices.preferences((0, 1, 0.9), (1, 2, 0.8), (2, 0, 0.7))
    agents = [lambda seen: (-0.1 * seen.sum(0)).softmax(0), lambda seen: (-0.13 * seen.sum(0)).softmax(0)]
    # the first loses by 1 - P, the second by P
    match = r.repeated_game(agents, (1 - p, p), 600)
    assert match.cce_gap == pytest.approx(max(float(x[-1]) for x in match.regret) / 600)
    assert match.cce_gap <= max(math.log(3) / a + a * 600 / 8 for a in (0.1, 0.13)) / 600
    average = match.policies[0].mean(0)
    assert torch.allclose(average, torch.tensor([1 / 3, 2 / 9, 4 / 9], dtype=F64), atol=0.05)


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda: r.regret(torch.zeros(3, 2), torch.zeros(2, 2)), "expected the same"),
        (lambda: r.trend_test(torch.zeros(2, 5)), "one run at a time"),
        (lambda: r.growth_test(torch.tensor([1.0, float("nan"), 2.0])), "finite"),
        (lambda: r.regret_loss(torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 2, 2), -1.0), "k >= 0"),
        (lambda: r.repeated_game([], [], 1), "two agents"),
    ],
)
def test_refusals(made, message):
    with pytest.raises(AssentError, match=message):
        made()
