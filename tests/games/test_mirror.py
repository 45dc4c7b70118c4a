"""The mirror family: steps equal those of the losses they are said to be, and settle or cycle where predicted."""

from __future__ import annotations

import math

import pytest
import torch

from assent import parse
from assent.errors import AssentError
from assent.games import matrices, mirror
from assent.games.equilibrium import Game, kl, nash, rotation
from assent.games.expectation import Facts, TokenTable, expected_loss, gradient, product, sampled_gradient
from assent.worlds.stacked import generators

CYCLE = matrices.preferences((0, 1, 0.9), (1, 2, 0.8), (2, 0, 0.7))
START = torch.tensor([0.5, 0.0, -0.5], dtype=torch.float64)


def small(tau: float = 0.2, arms: int = 5) -> tuple[Game, torch.Tensor]:
    (g,) = generators((3,), 9)
    ref, theta = torch.randn(2, arms, generator=g, dtype=torch.float64)
    return Game.of(matrices.random([g], arms)[0], tau, ref), theta


@pytest.mark.parametrize("method", ["omd", "nash_md", "egpo"])
def test_gradient_steps_are_mirror_steps(method):
    game, theta = small()
    row, size, count = mirror.METHODS[method], 0.7, 5
    o = row.opponent(game, theta, size)
    facts = Facts(game.ref, rates=0.5 + game.against(o))
    uniform = torch.full((count, count), 1 / count**2, dtype=torch.float64)
    slope = gradient(parse(row.loss(size, game.tau)), lambda x: x.log_softmax(0), theta, facts, uniform)
    moved = theta - size * game.tau * count / 4 * slope
    assert torch.allclose(moved - moved.mean(), mirror.step(game, theta, o, size), atol=1e-13)


def test_online_ipo_is_a_natural_gradient_step():
    game, theta = small()
    pi, size = theta.softmax(0), 0.7
    slope = gradient(
        parse(f"ipo(tau={game.tau})"), lambda x: x.log_softmax(0), theta, Facts(game.ref, p=game.p), product(pi, pi)
    )
    cov = torch.diag(pi) - torch.outer(pi, pi)
    moved = theta - size * game.tau / 4 * torch.linalg.pinv(cov) @ slope
    assert torch.allclose(moved - moved.mean(), mirror.step(game, theta, pi, size), atol=1e-11)


def test_inpo_is_least_at_the_mirror_step():
    game, theta = small()
    pi, size = theta.softmax(0), 0.7
    facts = Facts(game.ref, old_logp=theta.log_softmax(0), p=game.p)
    loss = parse(mirror.METHODS["inpo"].loss(size, game.tau))
    after = mirror.step(game, theta, pi, size)
    slope = gradient(loss, lambda x: x.log_softmax(0), after, facts, product(pi, pi))
    assert float(slope.abs().max()) < 1e-13
    value = lambda x: float(expected_loss(loss, x.log_softmax(0), facts, product(pi, pi)))  # noqa: E731
    assert value(after) < min(value(after + d) for d in 0.01 * torch.eye(5, dtype=torch.float64))


def test_sppo_has_the_step_as_its_targets():
    game, theta = small()
    pi, size = theta.softmax(0), 0.7
    facts = Facts(theta.log_softmax(0), rates=0.5 + game.against(pi))
    after = theta.log_softmax(0) + size * game.against(pi)  # not normalised
    assert float(expected_loss(parse(mirror.METHODS["sppo"].loss(size, 0.0)), after, facts, product(pi, pi))) < 1e-28
    step = mirror.step(game, theta, pi, size, tau=0.0)
    assert torch.allclose(step.log_softmax(0), after.log_softmax(0), atol=1e-14)


def test_sampled_gradients_agree_with_expectations_over_all_completions():
    # every completion of 3 tokens from 4 words; pairs, opponents and labels drawn one by one
    table, (g,) = TokenTable(), generators((5,), 11)
    ref, theta = 0.7 * torch.randn(2, *table.shape, generator=g, dtype=torch.float64)
    logp, ref_logp = table.logp(theta), table.logp(ref)
    assert float(logp.exp().sum()) == pytest.approx(1.0, abs=1e-13)
    p, pi = matrices.random([g], table.size)[0], logp.exp()
    draw = lambda law, n: torch.multinomial(law, n, replacement=True, generator=g)  # noqa: E731
    count = 30_000
    first, second, third = draw(pi, count), draw(pi, count), draw(pi, count)
    toss = torch.rand(count, generator=g, dtype=torch.float64)
    labels = (toss < p[first, second]).double()
    plain, old = Facts(ref_logp, p=p), Facts(ref_logp, old_logp=logp, p=p)
    rated = Facts(ref_logp, rates=p @ pi)
    cases = {
        "ipo(tau=0.5)": (plain, None, labels),
        "inpo(eta=0.8, tau=0.3)": (old, None, labels),
        "ipo_soft(tau=0.5)": (rated, (p[first, third], p[second, third]), None),
    }
    for text, (facts, rates, target) in cases.items():
        exact = gradient(parse(text), table.logp, theta, facts, product(pi, pi))
        mean, error = sampled_gradient(parse(text), table.logp, theta, facts, first, second, rates, target)
        z = ((mean - exact) / error).abs()[error > 0]
        # 3 standard errors for each of 84 numbers, at the level of 3 standard errors for all of them
        assert z.numel() == 84 and float(z.square().mean()) < 1.6 and float((z > 3).double().mean()) < 0.03, text
        assert float(z.max()) < 4.2, text
        assert float(exact.abs().max() / error.median()) > 10  # the sample could have told otherwise


def test_mixtures_by_token_and_by_sequence():
    table, (g,) = TokenTable(3, 2), generators((6,), 11)
    ref, theta = 2 * torch.randn(2, *table.shape, generator=g, dtype=torch.float64)
    whole = (0.5 * table.logp(theta) + 0.5 * table.logp(ref)).softmax(0)
    token = table.mixed(theta, ref, 0.5).exp()
    assert 0.002 < float((whole - token).abs().sum() / 2) < 0.2
    one = TokenTable(3, 1)
    whole = (0.5 * one.logp(theta[:1]) + 0.5 * one.logp(ref[:1])).softmax(0)
    assert torch.allclose(one.mixed(theta[:1], ref[:1], 0.5).exp(), whole, atol=1e-15)


def test_settling_and_cycling_at_the_predicted_step():
    game = Game.of(CYCLE, 0.01)
    best = nash(game).log_policy
    omega = rotation(game, best)
    threshold = float(mirror.omd_threshold(game, omega))
    assert threshold == pytest.approx(0.748, abs=5e-4)
    for size, settles in ((0.5, True), (1.0, False)):
        path = mirror.run(game, "omd", size, 4000, start=START)
        assert (float(kl(best, path.theta)) < 1e-5) == settles
        assert float(kl(best, mirror.run(game, "egpo", size, 4000, start=START).theta)) < 1e-13
    # near the equilibrium the extragradient shrinks by the predicted factor
    path = mirror.run(game, "egpo", 0.5, 600, start=START, every=100)
    seen = path.divergence(best)[[2, 4]]
    rate = float((seen[1] / seen[0]).log() / 400)
    assert rate == pytest.approx(math.log(float(mirror.egpo_rate(game, omega, 0.5))), rel=0.02)


def test_limits():
    game, theta = small()
    # s tau = 1 is a best response; equal chances shrink the distance to the reference by 1 - s tau
    path = mirror.run(game, "omd", 1 / game.tau, 1, start=theta)
    assert torch.allclose(path.theta.softmax(0), game.best_response(theta.softmax(0)).exp(), atol=1e-14)
    even = Game.of(torch.full((5, 5), 0.5), 0.2, game.ref)
    for method in ("omd", "egpo", "nash_md", "inpo"):
        after = mirror.run(even, method, 1.0, 3, start=theta).theta
        start = theta - theta.mean() - (game.ref - game.ref.mean())
        assert torch.allclose(after - (game.ref - game.ref.mean()), 0.8**3 * start, atol=1e-14)
    # two arms: the half step changes nothing
    two = Game.of(matrices.preferences((0, 1, 0.8), arms=2), 0.2)
    a, b = (mirror.run(two, m, 1.0, 4, start=torch.tensor([1.0, 0.0])).theta for m in ("omd", "egpo"))
    assert torch.allclose(a, b, atol=1e-15)
    # an opponent that is fixed, at s tau = 1, is offline IPO
    mu = torch.tensor([0.6, 0.3, 0.1], dtype=torch.float64)
    third = matrices.preferences((0, 1, 5 / 9), (1, 2, 5 / 9), (2, 0, 5 / 9))
    path = mirror.run(Game.of(third, 0.1), lambda game, theta, size: mu, 10.0, 1)
    assert torch.allclose(
        path.theta.softmax(0), torch.tensor([0.36564, 0.24783, 0.38653], dtype=torch.float64), atol=5e-6
    )


def test_refusals():
    game, _ = small()
    with pytest.raises(AssentError, match="at most 1/tau"):
        mirror.run(game, "omd", 6.0, 1)
    with pytest.raises(AssentError, match="expected one of sppo"):
        mirror.run(game, "dpo", 0.1, 1)
