"""Recurring items: likelihood and gradient against the formula, the optimum against scipy, recovery, symmetries."""

from __future__ import annotations

import math

import pytest
import torch
from scipy.optimize import minimize

from assent.errors import AssentError
from assent.robust.items import _Problem, estimate_items


def world(seed, items, labels, etas, spread=1.5):
    g = torch.Generator().manual_seed(seed)
    score = spread * torch.randn(items, generator=g, dtype=torch.float64)
    first = torch.randint(items, (labels,), generator=g)
    second = (first + 1 + torch.randint(items - 1, (labels,), generator=g)) % items
    eta = torch.tensor(etas, dtype=torch.float64)
    who = torch.randint(len(etas), (labels,), generator=g)
    order = torch.rand(labels, generator=g, dtype=torch.float64) < torch.sigmoid(score[first] - score[second])
    right = torch.rand(labels, generator=g, dtype=torch.float64) < eta[who]
    return score, (first, second, who, torch.where(right, order, ~order).double()), eta


def oracle(score, eta, rows, ridge):
    total = -0.5 * ridge * sum(s * s for s in score)
    for a, b, k, p in rows:
        margin = 1 / (1 + math.exp(score[b] - score[a]))
        q = eta[k] * p + (1 - eta[k]) * (1 - p)
        total += math.log(q * margin + (1 - q) * (1 - margin))
    return total


def test_value_and_gradient_are_the_formula():
    _, (first, second, who, p), _ = world(0, 4, 40, [0.9, 0.6])
    p[:5] = torch.tensor([0.5, 0.8, 0.1, 0.35, 1.0])
    problem = _Problem.of(first, second, who, p, 4, 2, None, 0.3)
    x = torch.tensor([0.4, -1.0, 2.0, 0.1, 3.0, -1.0], dtype=torch.float64)
    rows = list(zip(first.tolist(), second.tolist(), who.tolist(), p.tolist(), strict=True))

    def value(y):
        y = y * problem.scale
        return -oracle(y[:4].tolist(), torch.sigmoid(y[4:]).tolist(), rows, 0.3)

    found, gradient = problem.value(x)
    assert float(found) == pytest.approx(value(x), abs=1e-10)
    steps = torch.eye(6, dtype=torch.float64) * 1e-5
    expected = torch.tensor([(value(x + d) - value(x - d)) / 2e-5 for d in steps], dtype=torch.float64)
    assert torch.allclose(gradient, expected, atol=1e-6)


def test_the_optimum_is_that_of_a_general_optimiser():
    _, (first, second, who, p), _ = world(1, 5, 150, [0.9, 0.7])
    rows = list(zip(first.tolist(), second.tolist(), who.tolist(), p.tolist(), strict=True))

    def loss(y):
        return -oracle(y[:5], [1 / (1 + math.exp(-v)) for v in y[5:]], rows, 0.05)

    best = minimize(loss, [0.0] * 5 + [2.0, 2.0], method="BFGS", options={"gtol": 1e-6})
    found = estimate_items(first, second, who, p, 5, 2, tol=1e-6)
    assert found.converged
    centred = torch.tensor(best.x[:5]) - best.x[:5].mean()
    assert torch.allclose(found.score, centred, atol=1e-3)
    assert torch.allclose(found.eta, torch.sigmoid(torch.tensor(best.x[5:])), atol=1e-3)


def test_scores_and_reliabilities_come_back():
    truth = [0.98, 0.9, 0.75, 0.6, 0.3]
    score, data, eta = world(2, 30, 20_000, truth)
    found = estimate_items(*data, 30, 5)
    assert found.converged
    assert torch.corrcoef(torch.stack([found.score, score]))[0, 1] > 0.99
    assert (found.eta - eta).abs().max() < 0.04
    right = found.correct.mean()
    assert float(right) == pytest.approx(float(eta[data[2]].mean()), abs=0.02)


def test_symmetries_weights_and_ties():
    _, (first, second, who, p), _ = world(3, 8, 600, [0.9, 0.65])
    found = estimate_items(first, second, who, p, 8, 2, tol=1e-7)
    swapped = estimate_items(second, first, who, 1 - p, 8, 2, tol=1e-7)
    assert torch.allclose(swapped.score, found.score, atol=1e-5)
    mirror = estimate_items(first, second, who, p, 8, 2, start=0.1, tol=1e-7)
    assert torch.allclose(mirror.score, -found.score, atol=1e-4)
    assert torch.allclose(mirror.eta, 1 - found.eta, atol=1e-4)
    twice = estimate_items(*(x.repeat(2) for x in (first, second, who, p)), 8, 2, tol=1e-7)
    weighted = estimate_items(first, second, who, p, 8, 2, weight=torch.full((600,), 2.0), tol=1e-7)
    assert torch.allclose(weighted.score, twice.score, atol=1e-5)
    tie = torch.tensor([0])
    more = [torch.cat([x, y]) for x, y in zip((first, second, who), (tie, tie + 1, tie), strict=True)]
    tied = estimate_items(*more, torch.cat([p, torch.tensor([0.5]).double()]), 8, 2, tol=1e-7)
    assert torch.allclose(tied.eta, found.eta, atol=1e-5)
    assert tied.correct[-1].isnan()


def test_what_has_no_meaning_is_refused():
    zero, one = torch.tensor([0]), torch.tensor([1])
    p = torch.tensor([1.0])
    with pytest.raises(AssentError, match="with itself"):
        estimate_items(one, one, zero, p, 2, 1)
    with pytest.raises(AssentError, match="second must hold one index from 0 to 0"):
        estimate_items(zero, one, zero, p, 1, 1)
