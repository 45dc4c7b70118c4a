"""The stacked loop: runs beside each other behave as runs alone, and the objective is the one users train with."""

from __future__ import annotations

import torch

from assent.objectives import parse, step_loss
from assent.worlds import linear, stacked

ONLINE = parse("lcpo(dpo(beta=1.0))")


def world(seeds=(0, 1, 2)):
    return linear.draw(seeds, [0.9, 0.3], pairs=150, features=3, norm=2.0)


def test_a_run_beside_others_is_the_run_alone():
    together = stacked.fit(ONLINE, world(), epochs=3, l2=1e-3)
    alone = stacked.fit(ONLINE, world((2,)), epochs=3, l2=1e-3)
    torch.testing.assert_close(together.theta[2], alone.theta[0], rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(together.eta[2], alone.eta[0], rtol=1e-12, atol=0)
    assert len(together.path) == 3 and together.path[0].shape == (3, 2)


def test_one_step_is_adam_on_the_batch_mean_and_one_update_of_the_state():
    w = world((0,))
    found = stacked.fit(ONLINE, w, epochs=1, batch=150, lr=0.02, l2=0.1, theta=torch.ones(1, 3).double())
    theta = torch.ones(1, 3, dtype=torch.float64, requires_grad=True)
    scores, state = stacked.pair_scores(w, theta), stacked.initial_state(ONLINE, w)
    loss = step_loss(ONLINE, scores, state) + 0.05 * theta.square().sum()
    (gradient,) = torch.autograd.grad(loss, theta)
    torch.testing.assert_close(found.theta, 1 - 0.02 * gradient.sign(), rtol=1e-6, atol=0)
    s = torch.einsum("nd,d->n", w.x[0], torch.ones(3, dtype=torch.float64))
    mean = torch.sigmoid(s + torch.logit(torch.tensor(0.9))).reshape(-1, 2).mean(0)  # annotators take turns
    torch.testing.assert_close(found.eta[0], 0.9 * 0.9 + 0.1 * mean, rtol=1e-6, atol=0)


def test_without_a_learning_rate_only_the_state_moves():
    w = world()
    found = stacked.fit(ONLINE, w, epochs=2, lr=0.0, theta=w.truth, start=torch.full((3, 2), 0.6))
    assert torch.equal(found.theta, w.truth)
    assert ((found.eta - 0.6).abs() > 1e-3).all()
    assert stacked.fit(parse("dpo()"), w, epochs=1).eta is None


def test_posterior_of_a_known_policy():
    w = world()
    known = stacked.Fit(w.truth, w.reliability, ())
    s = torch.einsum("mnd,md->mn", w.x, w.truth)
    eta = w.reliability.gather(1, w.annotator)
    p = torch.sigmoid(s)
    expected = eta * p / (eta * p + (1 - eta) * (1 - p))
    torch.testing.assert_close(stacked.posterior(ONLINE, w, known), expected)
