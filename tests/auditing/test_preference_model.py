"""The logistic model against gradients and a hand value."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize

from assent.auditing.preference_model import Linear, sigmoid


def test_the_fit_is_the_minimum_that_a_general_optimiser_finds() -> None:
    random = np.random.default_rng(0)
    x = random.normal(size=(300, 5))
    target, weight = random.random(300), random.random(300) * 2
    model = Linear(ridge=3.0)

    def loss(c: np.ndarray) -> float:
        s = x @ c
        p = 1 / (1 + np.exp(-s))
        return float(-(weight * (target * np.log(p) + (1 - target) * np.log(1 - p))).sum() + 1.5 * c @ c)

    best = minimize(loss, np.zeros(5), method="BFGS", options={"gtol": 1e-8})
    np.testing.assert_allclose(model.fit(x, target, weight), best.x, atol=1e-3)


def test_a_single_feature_gives_the_log_odds() -> None:
    c = Linear(ridge=1e-9).fit(np.ones((4, 1)), np.array([1.0, 1.0, 1.0, 0.0]), np.ones(4))
    assert c[0] == pytest.approx(np.log(3), abs=1e-4)


def test_swapping_sides_and_targets_changes_nothing() -> None:
    random = np.random.default_rng(1)
    x, t, w = random.normal(size=(50, 3)), random.random(50), np.ones(50)
    np.testing.assert_allclose(Linear().fit(x, t, w), Linear().fit(-x, 1 - t, w), atol=1e-12)


def test_sigmoid_is_exact_far_out() -> None:
    assert sigmoid(np.array([0.0, np.log(3), -1000.0, 1000.0])) == pytest.approx([0.5, 0.75, 0.0, 1.0])
