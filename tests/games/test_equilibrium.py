"""Equilibria and gaps against closed forms, known figures and brute force."""

from __future__ import annotations

import pytest
import torch

from assent.errors import AssentError
from assent.games import matrices
from assent.games.equilibrium import Game, kl, nash, rotation
from assent.worlds.stacked import generators

CYCLE = matrices.preferences((0, 1, 0.9), (1, 2, 0.8), (2, 0, 0.7))


def test_known_equilibria():
    # figures of the sheets of INPO and IPO-MD, printed to five digits
    for tau, told in ((0.1, (0.39234, 0.22500, 0.38266)), (0.05, (0.36959, 0.21584, 0.41456))):
        assert torch.allclose(nash(Game.of(CYCLE, tau)).policy, torch.tensor(told, dtype=torch.float64), atol=5e-6)
    # two arms: odds e^((p - 1/2) / tau); even: the reference
    two = nash(Game.of(matrices.preferences((0, 1, 0.8), arms=2), 0.5)).log_policy
    assert float(two[0] - two[1]) == pytest.approx(0.6, abs=1e-14)
    ref = torch.tensor([0.3, -1.0, 0.0], dtype=torch.float64)
    assert torch.allclose(nash(Game.of(matrices.preferences(), 0.1, ref)).policy, ref.softmax(0), atol=1e-15)


@pytest.mark.parametrize("kind", ["uniform", "tournament"])
@pytest.mark.parametrize("tau", [0.003, 0.01, 0.1, 3.0])
def test_certificates_on_random_games(kind, tau):
    draws = generators(range(20), 7)
    ref = torch.stack([torch.randn(10, generator=g, dtype=torch.float64) for g in draws])
    game = Game.of(matrices.random(draws, 10, kind), tau, ref)
    found = nash(game)
    assert found.error <= 1e-12 and 0 <= found.gap <= 1e-13
    assert float((found.policy.sum(-1) - 1).abs().max()) < 1e-13


def test_gap_is_what_best_responses_gain():
    draws = generators((0,), 8)
    game = Game.of(matrices.random(draws, 4)[0], 0.2, torch.randn(4, generator=draws[0], dtype=torch.float64))
    policy = torch.randn(4, generator=draws[0], dtype=torch.float64)
    best = game.best_response(policy.softmax(0))
    gap = float(game.value(best, policy) - game.value(policy, best))
    assert float(game.gap(policy)) == pytest.approx(gap, abs=1e-14)
    assert float(game.value(policy, best) + game.value(best, policy)) == pytest.approx(1.0, abs=1e-14)
    others = torch.randn(2000, 4, generator=draws[0], dtype=torch.float64) * 3
    assert float(game.value(others, policy).max()) < float(game.value(best, policy))
    # without KL the best response is one arm
    free = Game(game.p, game.ref, 0.0)
    assert float(free.gap(policy)) == pytest.approx(2 * float((game.p @ policy.softmax(0)).max()) - 1, abs=1e-15)


def test_divergence_is_exact_near_zero():
    one = torch.tensor([0.1, -0.2, 0.4], dtype=torch.float64)
    near = kl(one, one + torch.tensor([1e-9, 0.0, -1e-9], dtype=torch.float64))
    # half the variance of the difference under the policy
    pi = one.softmax(0)
    d = torch.tensor([1.0, 0.0, -1.0], dtype=torch.float64)
    variance = float((pi * d**2).sum() - (pi * d).sum() ** 2)
    assert float(near) == pytest.approx(0.5e-18 * variance, rel=1e-3) and float(kl(one, one + 3)) == pytest.approx(
        0, abs=1e-30
    )


def test_rotation_by_hand():
    # rock, paper, scissors at the centre: eigenvalues of (P - 1/2)/3 are +-i sqrt(3)/2 / 3
    game = Game.of(matrices.cyclic(3), 0.1)
    assert float(rotation(game, game.ref)) == pytest.approx(3**0.5 / 6, abs=1e-14)
    two = Game.of(matrices.preferences((0, 1, 0.9), arms=2), 0.1)
    assert float(rotation(two, two.ref)) == pytest.approx(0.0, abs=1e-15)


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda: Game.of(CYCLE, -1.0), "tau is"),
        (lambda: Game.of(CYCLE, 0.1, torch.zeros(2)), "for 3 arms"),
        (lambda: nash(Game.of(CYCLE, 0.0)), "need not be unique"),
        (lambda: Game.of(CYCLE, 0.0).best_response(torch.ones(3, dtype=torch.float64) / 3), "plain_gap"),
    ],
)
def test_refusals(made, message):
    with pytest.raises(AssentError, match=message):
        made()
