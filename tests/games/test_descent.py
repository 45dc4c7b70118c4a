"""Descent of the registry's losses on tables, and policy gradients."""

from __future__ import annotations

import torch

from assent import parse
from assent.games import matrices
from assent.games.descent import descend, policy_gradient, settle, slopes
from assent.games.equilibrium import Game, nash
from assent.games.expectation import Facts, gradient, product
from assent.games.mirror import mixture
from assent.scores import GroupScores, Scores, Tokens
from assent.worlds.stacked import generators

CYCLE = matrices.preferences((0, 1, 0.9), (1, 2, 0.8), (2, 0, 0.7))


def test_slopes_are_gradients_of_the_expectation():
    draws = generators((0, 1), 1)
    game = Game.of(matrices.random(draws, 4), 0.3)
    theta = torch.stack([torch.randn(4, generator=g, dtype=torch.float64) for g in draws])
    law = (2 * theta).softmax(-1)
    found = slopes(parse("dpo(beta=0.3)"), game, theta, law)
    for i in range(2):
        facts = Facts(game.ref[i], p=game.p[i])
        other = gradient(parse("dpo(beta=0.3)"), lambda x: x.log_softmax(0), theta[i], facts, product(law[i], law[i]))
        assert torch.allclose(found[i], other, atol=1e-14)


def test_plain_and_preconditioned_descent_end_alike():
    game, start = Game.of(CYCLE, 0.3), torch.tensor([[0.3, 0.0, -0.3]], dtype=torch.float64)
    now = lambda x: x.softmax(-1)  # noqa: E731
    plain = descend(parse("ipo(tau=0.3)"), game, now, start, 0.1, 600)
    fast = settle(parse("ipo(tau=0.3)"), game, now, start, 0.1)
    assert float(game.gap(fast)[0]) < 1e-24 and float(game.gap(plain)[0]) < 1e-12
    assert torch.allclose(fast.softmax(-1)[0], nash(game).policy, atol=1e-12)


def test_policy_gradient_stands_still_where_its_mixture_says():
    # share s tau = .1: pi = ref exp(P mix / tau), and the mixture is Nash at tau / (1 - share)
    game = Game.of(CYCLE.unsqueeze(0), 0.5)
    theta = policy_gradient(game, 0.2, 2.0, 400)
    mixed = 0.9 * theta.log_softmax(-1) + 0.1 * game.ref
    assert torch.allclose(mixed.softmax(-1), nash(Game.of(CYCLE.unsqueeze(0), 0.5 / 0.9)).policy, atol=1e-12)
    assert float(game.gap(theta)[0]) > 1e-8


def test_nash_md_pg_is_rloo_with_win_rates_against_the_mixture():
    # all ordered pairs of completions as groups of two, weighted by how often the policy draws them
    (g,) = generators((4,), 1)
    game = Game.of(matrices.random([g], 4)[0], 0.3, torch.randn(4, generator=g, dtype=torch.float64))
    theta = torch.randn(4, generator=g, dtype=torch.float64).requires_grad_()
    logp, size = theta.log_softmax(0), 0.5
    pi, rates = logp.exp().detach(), 0.5 + game.against(mixture(game, theta.detach(), size))
    arms = torch.cartesian_prod(torch.arange(4), torch.arange(4)).flatten()
    row = torch.arange(32)
    old = {"old_logp": logp.detach()[arms]}
    tokens = Tokens(row, torch.zeros(32, dtype=torch.long), logp[arms], game.ref[arms], columns=old)
    side = Scores(logp[arms], game.ref[arms], torch.ones(32, dtype=torch.float64), tokens)
    loss = parse("rloo(beta=0.3)")(GroupScores(side, row // 2, rates[arms]))
    (slope,) = torch.autograd.grad((product(pi, pi).flatten() * loss).sum(), theta)
    f = rates - 0.3 * (logp.detach() - game.ref)
    assert torch.allclose(slope, -pi * (f - pi @ f), atol=1e-14)
    after = policy_gradient(
        Game(game.p[None], theta.detach().log_softmax(0)[None], 0.0), size, 1e-3, 1
    )  # tau 0: wins alone
    wins = game.against(pi)
    assert torch.allclose(after[0] - logp.detach(), 1e-3 * pi * (wins - pi @ wins), atol=1e-15)
