"""A small model of preference that changes sign with the order of a pair: logistic on antisymmetric features."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


def sigmoid(x: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-x)) without overflow."""
    return 0.5 * (1 + np.tanh(0.5 * np.asarray(x, dtype=np.float64)))


@dataclass(frozen=True)
class Linear:
    """logit = features @ coefficients: antisymmetric because the features are and there is no intercept.

    ridge: Gaussian prior on the coefficients of unit-scaled features, in units of one pair.
    """

    ridge: float = 100.0

    def fit(self, x: np.ndarray, target: np.ndarray, weight: np.ndarray, start: np.ndarray | None = None) -> np.ndarray:
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
