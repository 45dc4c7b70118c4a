"""Small models of preference that change sign with the order of a pair: logistic, and boosted trees on top."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from assent.auditing.features import PairFeatures


def sigmoid(x: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-x)) without overflow."""
    return 0.5 * (1 + np.tanh(0.5 * np.asarray(x, dtype=np.float64)))


@dataclass(frozen=True)
class Linear:
    """logit = features @ coefficients: antisymmetric because the features are and there is no intercept.

    ridge: Gaussian prior on the coefficients of unit-scaled features, in units of one pair.
    """

    ridge: float = 100.0

    def fit(
        self, x: np.ndarray, target: np.ndarray, weight: np.ndarray, start: np.ndarray | None = None
    ) -> np.ndarray:
        """Coefficients [D] of least weighted cross-entropy against soft targets, by Newton steps."""
        coefficients = np.zeros(x.shape[1]) if start is None else start.copy()
        value = self._loss(x, coefficients, target, weight)
        for _ in range(25):
            p = sigmoid(x @ coefficients)
            gradient = x.T @ (weight * (p - target)) + self.ridge * coefficients
            scaled = x * np.sqrt(weight * p * (1 - p))[:, None].astype(x.dtype)
            hessian = (scaled.T @ scaled).astype(np.float64)
            hessian[np.diag_indices_from(hessian)] += self.ridge
            step = np.linalg.solve(hessian, gradient)
            for _ in range(8):
                new = self._loss(x, coefficients - step, target, weight)
                if new <= value + 1e-9 * abs(value):
                    break
                step /= 2
            coefficients = coefficients - step
            if value - new < 1e-6 * abs(value):
                break
            value = new
        return coefficients

    def _loss(self, x: np.ndarray, coefficients: np.ndarray, target: np.ndarray, weight: np.ndarray) -> float:
        s = x @ coefficients
        return float(weight @ (np.logaddexp(0, -s) + (1 - target) * s) + self.ridge / 2 * coefficients @ coefficients)


def choose_ridge(
    x: np.ndarray, target: np.ndarray, weight: np.ndarray, folds: np.ndarray, grid: Sequence[float]
) -> float:
    """The ridge of ``grid`` with the least held-out cross-entropy on the first fold, at most 20,000 pairs each way."""
    held = folds == 0
    fit, test = np.flatnonzero(~held)[:20_000], np.flatnonzero(held)[:20_000]
    losses = []
    for ridge in grid:
        s = x[test] @ Linear(ridge).fit(x[fit], target[fit], weight[fit])
        losses.append(float(weight[test] @ (np.logaddexp(0, -s) + (1 - target[test]) * s)))
    return grid[int(np.argmin(losses))]


@dataclass(frozen=True)
class Boosted:
    """Boosted trees trained on every pair in both orders with both outcomes; logit = (f(x) - f(-x)) / 2."""

    iterations: int = 120
    rate: float = 0.08
    leaves: int = 12
    smallest_leaf: int = 40
    seed: int = 0

    def fit_predict(
        self, features: PairFeatures, target: np.ndarray, weight: np.ndarray, fit: np.ndarray, test: np.ndarray
    ) -> np.ndarray:
        """Logits [len(test)] of the pairs ``test`` from a fit to the soft targets of the pairs ``fit``."""
        from sklearn.ensemble import HistGradientBoostingClassifier

        x, context = features.difference, features.context
        both = np.vstack([np.hstack([x[fit], context[fit]]), np.hstack([-x[fit], context[fit]])])
        t, w = np.concatenate([target[fit], 1 - target[fit]]), np.concatenate([weight[fit]] * 2)
        outcome = np.concatenate([np.ones(len(t)), np.zeros(len(t))])
        share = np.concatenate([t * w, (1 - t) * w]) / 2
        kept = share > 0.01
        model = HistGradientBoostingClassifier(
            max_iter=self.iterations, learning_rate=self.rate, max_leaf_nodes=self.leaves, early_stopping=False,
            min_samples_leaf=self.smallest_leaf, l2_regularization=1.0, max_features=0.3, random_state=self.seed,
        )  # fmt: skip
        model.fit(np.vstack([both, both])[kept], outcome[kept], sample_weight=share[kept])
        there = model.decision_function(np.hstack([x[test], context[test]]))
        back = model.decision_function(np.hstack([-x[test], context[test]]))
        return (there - back) / 2
