"""The Beta distribution over annotators: its maximum against scipy, and what shrinking does to errors."""

from __future__ import annotations

import pytest
import torch
from scipy.optimize import minimize
from scipy.stats import betabinom

from assent.robust.estimation import estimate
from assent.robust.shrinkage import beta_binomial
from assent.scores import Labels


def test_the_beta_binomial_maximum():
    g = torch.Generator().manual_seed(0)
    trials = torch.randint(5, 60, (80,), generator=g).double()
    eta = torch.distributions.Beta(8.0, 2.0)
    torch.manual_seed(0)
    right = torch.binomial(trials, eta.sample((80,)).double())

    def loss(theta):
        a, b = torch.tensor(theta).exp().tolist()
        pull = 0.02 * (torch.tensor(a + b).log().item() - 2) ** 2
        return -betabinom.logpmf(right.numpy(), trials.numpy(), a, b).sum() + pull

    best = minimize(loss, [1.0, 0.0], method="Nelder-Mead", options={"xatol": 1e-6, "fatol": 1e-9})
    expected = torch.tensor(best.x).exp().tolist()
    assert list(beta_binomial(trials, right, (2.0, 0.5))) == pytest.approx(expected, rel=1e-3)


def test_annotators_that_are_all_alike_are_pulled_together():
    trials = torch.full((30,), 40.0, dtype=torch.float64)
    a, b = beta_binomial(trials, trials * 0.9, (2.0, 0.5))
    assert a / (a + b) == pytest.approx(0.9, abs=0.01)
    assert a + b > 200


def world(seed, annotators, each):
    g = torch.Generator().manual_seed(seed)
    eta = 0.6 + 0.35 * torch.rand(annotators, generator=g, dtype=torch.float64)
    n = annotators * each
    who = torch.arange(n) % annotators
    logit = 2 * torch.randn(n, generator=g, dtype=torch.float64)
    z = torch.rand(n, generator=g, dtype=torch.float64) < torch.sigmoid(logit)
    right = torch.rand(n, generator=g, dtype=torch.float64) < eta[who]
    return logit, Labels(torch.arange(n), who, (z == right).double()), eta


def test_few_labels_gain_and_many_lose_nothing():
    gain = {}
    for each in (20, 400):
        plain, shrunk = 0.0, 0.0
        for seed in range(3):
            logit, labels, eta = world(seed, 40, each)
            plain += float((estimate(logit, labels, 40).eta - eta).abs().mean())
            found = estimate(logit, labels, 40, prior="fit")
            shrunk += float((found.eta - eta).abs().mean())
            assert found.prior != (0.0, 0.0)
            assert found.converged
        gain[each] = shrunk / plain
    assert gain[20] < 0.85
    assert gain[400] < 1.05


def test_given_pseudo_counts_are_the_posterior_mode():
    # certain margins: 8 right of 10, pseudo-counts (3, 1): (8 + 3) / (10 + 4)
    labels = Labels(torch.arange(10), torch.zeros(10, dtype=torch.long), torch.ones(10, dtype=torch.float64))
    logit = torch.full((10,), 60.0)
    logit[:2] = -60.0
    found = estimate(logit, labels, 1, temperature=1.0, prior=(3.0, 1.0))
    assert float(found.eta) == pytest.approx(11 / 14, abs=1e-7)
    assert estimate(logit, labels, 1, temperature=1.0, prior="fit").prior == (0.0, 0.0)  # nobody to learn from
