"""The exact tests of the sheet on LCPO (arXiv:2509.24159), section 5 items 1-11.

The oracle is NumPy in float64, written from the sheet: s, p = sigmoid(s), w = eta p / (eta p + (1 - eta)(1 - p)).
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from assent.objectives import CPO, DPO, IPO, RunInfo, SimPO
from assent.robust import LCPO
from assent.scores import Labels, PairScores, Scores
from lcpo_sheet import (
    ETAS,
    S,
    bayes,
    gradient,
    logistic_lcpo,
    one_each,
    pairs,
    random_scores,
    sigmoid,
    softplus,
    state,
    tensor,
)


# 1
@pytest.mark.parametrize("eta", ETAS)
def test_item_1_posterior(eta):
    w = logistic_lcpo().posterior(pairs(S, one_each(len(S))), state(eta)).numpy()
    np.testing.assert_allclose(w, bayes(S, eta), rtol=1e-12)
    mirrored = logistic_lcpo().posterior(pairs(-S, one_each(len(S))), state(1 - eta)).numpy()
    np.testing.assert_allclose(w + mirrored, 1, atol=1e-14)
    turn = -np.log(eta / (1 - eta))
    special = logistic_lcpo().posterior(pairs([turn, 0.0], one_each(2)), state(eta)).numpy()
    np.testing.assert_allclose(special, [0.5, eta], atol=1e-15)


# 2
def test_item_2_reliability_one_half_and_zero():
    inner = S[np.abs(S) < 20]
    dpo = softplus(-inner)
    for eta, expected, slope in ((1.0, dpo, -sigmoid(-inner)), (0.0, softplus(inner), sigmoid(inner))):
        exact = state(eta)
        loss = logistic_lcpo()(pairs(inner, one_each(len(inner))), exact).numpy()
        np.testing.assert_allclose(loss, expected, atol=1e-12)
        np.testing.assert_allclose(gradient(logistic_lcpo(), inner, eta), slope, atol=1e-12)
    clamped = logistic_lcpo(reliability=1.0)
    assert float(clamped.init(RunInfo())["eta"]) == 1 - 1e-6
    near = clamped(pairs(inner, one_each(len(inner)))).numpy()
    np.testing.assert_allclose(near, dpo, atol=2.4e-4)  # 1 - w = 1e-6 e^4 at s = -4
    np.testing.assert_allclose(gradient(logistic_lcpo(), S, 0.5), 0, atol=1e-15)
    half = logistic_lcpo().posterior(pairs(S, one_each(len(S))), state(0.5)).numpy()
    np.testing.assert_allclose(half, sigmoid(S), rtol=1e-12)


# 3
@pytest.mark.parametrize("eta", ETAS)
def test_item_3_gradient_is_that_of_the_marginal_likelihood(eta):
    p, w = sigmoid(S), bayes(S, eta)
    found = gradient(logistic_lcpo(), S, eta)
    np.testing.assert_allclose(found, p - w, atol=1e-14)
    h = tensor(S).requires_grad_(True)
    q = eta * torch.sigmoid(h) + (1 - eta) * torch.sigmoid(-h)
    np.testing.assert_allclose(found, torch.autograd.grad(-q.log().sum(), h)[0].numpy(), atol=1e-12)
    h = tensor(S).requires_grad_(True)
    own = logistic_lcpo().marginal_nll(pairs(h, one_each(len(S))), state(eta))
    np.testing.assert_allclose(own.detach().numpy(), -np.log(eta * p + (1 - eta) * (1 - p)), rtol=1e-12)
    np.testing.assert_allclose(found, torch.autograd.grad(own.sum(), h)[0].numpy(), atol=1e-12)


def test_item_3_the_posterior_is_detached():
    s, eta = S[1:-1], 0.9
    attached = sigmoid(s) - bayes(s, eta) - bayes(s, eta) * (1 - bayes(s, eta)) * s
    found = gradient(logistic_lcpo(), s, eta)
    differs = np.abs(attached - found)[np.abs(s) > 0.1]
    assert differs.min() > 1e-3
    posterior = logistic_lcpo().posterior(pairs(tensor(s).requires_grad_(True), one_each(len(s))), state(eta))
    assert not posterior.requires_grad


# 4
def test_item_4_redescending_gradient():
    assert np.abs(gradient(logistic_lcpo(), np.array([-60.0, 60.0]), 0.9)).max() < 1e-14
    for eta in (0.6, 0.76, 0.9, 0.99):
        logit = np.log(eta / (1 - eta))
        grid = np.linspace(-20, 20, 4001)
        size = np.abs(gradient(logistic_lcpo(), np.append(grid, -logit / 2), eta))
        np.testing.assert_allclose(size[-1], np.tanh(logit / 4), atol=1e-12)
        assert size.max() <= size[-1] + 1e-12
    np.testing.assert_allclose(np.tanh(np.log(9) / 4), 0.5, atol=1e-12)


# 5
@pytest.mark.parametrize("eta", ETAS)
def test_item_5_policy_equals_reference(eta):
    scores = pairs(np.zeros(4), one_each(4))
    np.testing.assert_allclose(logistic_lcpo()(scores, state(eta)).numpy(), np.log(2), atol=1e-15)
    np.testing.assert_allclose(gradient(logistic_lcpo(), np.zeros(4), eta), 0.5 - eta, atol=1e-15)
    np.testing.assert_allclose(gradient(logistic_lcpo(), np.zeros(4), eta), (2 * eta - 1) * -0.5, atol=1e-15)
    after = logistic_lcpo().update(state(eta), logistic_lcpo().sums(scores, state(eta)))["eta"]
    np.testing.assert_allclose(after.numpy(), eta, atol=1e-16)


# 6
def test_item_6_induced_logits():
    scores = random_scores()
    c, r = scores.chosen, scores.rejected
    logp_c, logp_r = c.logp.numpy(), r.logp.numpy()
    d = logp_c - logp_r
    h = d - (c.ref_logp - r.ref_logp).numpy()
    u = 2.5 * (logp_c / c.length.numpy() - logp_r / r.length.numpy())
    nll = -logp_c / c.length.numpy(), -logp_r / r.length.numpy()
    expected = {
        DPO(beta=0.3): 0.3 * h,
        IPO(tau=0.1): 2 * h / 0.1,
        SimPO(beta=2.5, gamma=1.4): softplus(u + 1.4) - softplus(1.4 - u),
        SimPO(beta=2.5, gamma=0.0): u,
        CPO(beta=0.2): 1.2 * d,
        CPO(beta=0.2, alpha=0.7, nll="token"): 0.2 * d + 0.7 * (nll[1] - nll[0]),
    }
    for base, s in expected.items():
        objective = LCPO(base)
        forward, backward = objective.logit(scores), objective.logit(scores.swapped())
        np.testing.assert_allclose(forward.numpy(), s, rtol=1e-12, atol=1e-12, err_msg=str(base))
        both = torch.sigmoid(forward) + torch.sigmoid(backward)
        np.testing.assert_allclose(both.numpy(), 1, atol=1e-14, err_msg=str(base))
    same = LCPO(IPO(tau=0.1)), LCPO(DPO(beta=20.0))
    np.testing.assert_allclose(same[0](scores).numpy(), same[1](scores).numpy(), rtol=1e-13)


def test_item_6_slope_of_simpo_at_zero():
    u = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    one = torch.ones(1, dtype=torch.float64)
    scores = PairScores(Scores(u, length=one), Scores(torch.zeros_like(u), length=one))
    slope = torch.autograd.grad(LCPO(SimPO(beta=1.0, gamma=1.4)).logit(scores).sum(), u)[0]
    np.testing.assert_allclose(float(slope), 2 * sigmoid(np.array(1.4)), rtol=1e-12)


# 7
def population(start, eta, s, density, steps=1):
    """Full-batch M-steps of the objective on weighted margins: the population operator T."""
    p = sigmoid(s)
    weight = tensor(2 * density * (eta * p + (1 - eta) * (1 - p)))
    labels = Labels(torch.arange(len(s)), torch.zeros(len(s), dtype=torch.long), torch.ones(len(s)).double(), weight)
    objective, now = logistic_lcpo(rate=1.0), state(start)
    scores = pairs(s, labels, weight)
    for _ in range(steps):
        now = objective.update(now, objective.sums(scores, now))
    return float(now["eta"])


def test_item_7_fixed_points_and_rate():
    s = np.linspace(-24, 24, 2001)
    density = np.exp(-(s**2) / 8)
    density /= density.sum()
    for eta in (0.3, 0.761, 0.95):
        assert abs(population(eta, eta, s, density) - eta) < 1e-14
        step = 1e-5
        slope = (population(eta + step, eta, s, density) - population(eta - step, eta, s, density)) / (2 * step)
        p = sigmoid(s)
        d = eta * p + (1 - eta) * (1 - p)
        first = (density * p * (1 - p) / (d * (1 - d))).sum()
        second = 1 - eta * (1 - eta) * (density * (2 * p - 1) ** 2 / (d * (1 - d))).sum()
        np.testing.assert_allclose([slope, second], first, atol=1e-8)
    assert population(1e-6, 0.761, s, density) > 1e-6  # the ends repel
    assert population(1 - 1e-6, 0.761, s, density) < 1 - 1e-6
    for end in (1e-6, 1 - 1e-6):  # T(0) = 0 and T(1) = 1, seen from where the clamp holds
        assert abs(population(end, 0.761, s, density) - end) < 1e-5


def test_item_7_certain_margins_need_one_step():
    s = np.array([500.0] * 3 + [-500.0])
    labels = one_each(4)
    objective = logistic_lcpo(rate=1.0)
    for start in (0.1, 0.9):
        after = objective.update(state(start), objective.sums(pairs(s, labels), state(start)))["eta"]
        np.testing.assert_allclose(after.numpy(), 0.75, atol=1e-15)


# 8
@pytest.mark.parametrize("pool", [True, False])
def test_item_8_full_batch_em_is_monotone_and_counts(pool):
    g = np.random.default_rng(3)
    x, truth = g.normal(size=(300, 3)), np.array([1.5, -1.0, 0.5])
    annotator = np.repeat([0, 1, 2], 100)
    right = g.random(300) < np.array([0.95, 0.7, 0.3])[annotator]
    sign = np.where((g.random(300) < sigmoid(x @ truth)) == right, 1.0, -1.0)
    x = tensor(x * sign[:, None])
    labels = one_each(300, annotator.tolist())
    objective, now = logistic_lcpo(rate=1.0, pool=pool), state(0.9, 0.8, 0.7)
    theta, before = torch.zeros(3, dtype=torch.float64), np.inf
    for _ in range(25):
        scores = pairs(x @ theta, labels)
        nll = float(objective.marginal_nll(scores, now).sum())
        assert nll <= before + 1e-12
        before = nll
        w = objective.posterior(scores, now)
        new = objective.update(now, objective.sums(scores, now))
        np.testing.assert_allclose(float(w.sum()), float((100 * new["eta"]).sum()), rtol=1e-12)
        for _ in range(30):  # the exact M-step of the policy: Newton on w softplus(-s) + (1 - w) softplus(s)
            p = torch.sigmoid(x @ theta)
            hessian = (x * (p * (1 - p))[:, None]).T @ x
            theta = theta - torch.linalg.solve(hessian, x.T @ (p - w))
        now = new


# 9
def test_item_9_moving_average():
    objective, now = logistic_lcpo(rate=0.1), state(0.9, 0.4)
    c = 0.9 * sigmoid(1.2) / (0.9 * sigmoid(1.2) + 0.1 * sigmoid(-1.2))
    for t in range(1, 12):
        eta = float(now["eta"][0])
        s = np.log(c / (1 - c)) - np.log(eta / (1 - eta))  # the margin that keeps w = c
        now = objective.update(now, objective.sums(pairs([s, s], one_each(2)), now))
        np.testing.assert_allclose(float(now["eta"][0]), c + (0.9 - c) * 0.9**t, rtol=1e-12)
        assert float(now["eta"][1]) == 0.4  # not in the batch
    micro = [objective.sums(pairs([s], one_each(1)), now) for s in (0.3, -0.8)]
    added = {k: micro[0][k] + micro[1][k] for k in micro[0]}
    whole = objective.sums(pairs([0.3, -0.8], one_each(2)), now)
    for name, value in whole.items():
        np.testing.assert_allclose(added[name].numpy(), value.numpy(), rtol=1e-13)


def test_item_9_stationary_variance():
    rate, size, annotators = 0.1, 4, 20_000  # 20,000 independent annotators, long after the start
    objective, g = logistic_lcpo(rate=rate), np.random.default_rng(0)
    now = {"eta": torch.full((annotators,), 0.8, dtype=torch.float64)}
    for _ in range(100):
        w = g.uniform(0.6, 1.0, (annotators, size)).sum(1)
        now = objective.update(now, {"right": tensor(w), "count": torch.full_like(now["eta"], size)})
    expected = rate / (2 - rate) * (0.4**2 / 12) / size
    np.testing.assert_allclose(float(now["eta"].var()), expected, rtol=0.04)
    np.testing.assert_allclose(float(now["eta"].mean()), 0.8, atol=5e-4)


# 10
def test_item_10_global_symmetry():
    labels = one_each(len(S), [0, 1, 0, 1, 0, 1, 0, 1, 0])
    objective = logistic_lcpo()
    here = objective.marginal_nll(pairs(S, labels), state(0.9, 0.3)).numpy()
    mirror = objective.marginal_nll(pairs(-S, labels), state(0.1, 0.7)).numpy()
    np.testing.assert_allclose(here, mirror, rtol=1e-12)


# 11
def test_item_11_equal_annotators_are_one():
    many, one = one_each(len(S), list(range(len(S)))), one_each(len(S))
    objective = logistic_lcpo()
    several = {"eta": tensor([0.83] * len(S))}
    for call in (objective, objective.posterior):
        a, b = call(pairs(S, many), several), call(pairs(S, one), state(0.83))
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-15)
    after = objective.update(several, objective.sums(pairs(S, many), several))["eta"]
    assert float(after.max() - after.min()) > 0.05  # their later paths differ
    mean = objective.update(state(0.83), objective.sums(pairs(S, one), state(0.83)))["eta"]
    np.testing.assert_allclose(float(after.mean()), float(mean), rtol=1e-12)


# the two readings
def test_readings_agree_for_dpo_and_differ_for_ipo():
    scores = random_scores()
    for eta in (0.6, 0.9):
        likelihood, mixture = (LCPO(DPO(0.3), reading=r) for r in ("likelihood", "mixture"))
        np.testing.assert_allclose(likelihood(scores, state(eta)), mixture(scores, state(eta)), rtol=1e-12)
    h = np.array([-0.6, 0.0, 0.4, 2.0])
    tau, eta = 0.5, 0.8
    w = bayes(2 * h / tau, eta)
    mixture = LCPO(IPO(tau=tau), reading="mixture")(pairs(h, one_each(4)), state(eta)).numpy()
    np.testing.assert_allclose(mixture, w * (h - 1 / (2 * tau)) ** 2 + (1 - w) * (h + 1 / (2 * tau)) ** 2, rtol=1e-12)
    best = (2 * w - 1) / (2 * tau)  # for w held: the minimum of the mixture reading
    slope = 2 * w * (h - 1 / (2 * tau)) + 2 * (1 - w) * (h + 1 / (2 * tau))
    np.testing.assert_allclose(gradient(LCPO(IPO(tau=tau), reading="mixture"), h, eta), slope, rtol=1e-12)
    np.testing.assert_allclose(slope, 2 * (h - best), rtol=1e-12)
    base = LCPO(IPO(tau=tau), reading="mixture")(pairs(h, one_each(4)), state(1.0)).numpy()
    np.testing.assert_allclose(base, (h - 1 / (2 * tau)) ** 2, rtol=1e-12)  # eta = 1 gives the base loss back
    eq5 = LCPO(IPO(tau=tau))(pairs(h, one_each(4)), state(1.0)).numpy()
    np.testing.assert_allclose(eq5, softplus(-2 * h / tau), rtol=1e-12)  # eq. 5 does not
