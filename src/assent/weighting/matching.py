"""BCO's underlying-distribution matching: how much a disliked row counts when liked and disliked prompts differ."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from assent.errors import AssentError

_STEPS = 100
_TOLERANCE = 1e-10


def matching_weights(
    prompts: Float[Tensor, "n d"],
    label: Float[Tensor, n],
    *,
    weight: Float[Tensor, n] | None = None,
    at: Float[Tensor, "m d"] | None = None,
    ridge: float = 1e-3,
    low: float = 0.5,
    high: float = 10.0,
    unit_mean: bool = False,
) -> Tensor:
    """W = p(prompt | liked) / p(prompt | disliked) of each row, the column that ``bco(match=...)`` reads; 1 where liked.

    prompts: frozen embeddings of the prompts.  label: 1 liked, 0 disliked.  weight: row weights.  at: give W of these prompts
    [m] instead, each as that of a disliked row.  The ratio is the odds of a class-balanced logistic
    regression with an intercept; ridge: weight of half the squared coefficients per row.
    low, high: bounds of W; .5 and 10 are the author's code, and the lower one undoes the matching where prompts differ much:
    0 and inf leave W as it is.  unit_mean: divide by the mean over disliked rows, after the bounds.
    Raises AssentError: one class alone, other labels than 0 and 1, numbers that are not finite, bounds out of order.
    """
    x, y = prompts.double(), label.double()
    if not torch.isfinite(x).all() or not ((y == 0) | (y == 1)).all() or y.min() == y.max():
        raise AssentError("matching_weights: expected finite embeddings and labels 0 and 1, both of which occur")
    if not 0 <= low <= 1 <= high or ridge <= 0:
        raise AssentError(
            f"matching_weights: low is {low!r}, high {high!r}, ridge {ridge!r}; expected 0 <= low <= 1 <= high, ridge > 0"
        )
    mass = torch.ones_like(y) if weight is None else weight.double()
    balance = 0.5 * mass / torch.where(y == 1, (mass * y).sum(), (mass * (1 - y)).sum())
    found = _fit(_with_intercept(x), y, balance, ridge)
    ratio = (_with_intercept(x) @ found).exp().clamp(low, high)
    mean = (mass * (1 - y) * ratio).sum() / (mass * (1 - y)).sum() if unit_mean else 1.0
    if at is not None:
        return ((_with_intercept(at.double()) @ found).exp().clamp(low, high) / mean).to(prompts.dtype)
    return torch.where(y == 1, 1.0, ratio / mean).to(prompts.dtype)


def _with_intercept(x: Tensor) -> Tensor:
    return torch.cat([x, torch.ones_like(x[:, :1])], 1)


def _fit(x: Tensor, y: Tensor, balance: Tensor, ridge: float) -> Tensor:
    """Coefficients [d] of a logistic regression by Newton's method; the last column, the intercept, is not shrunk."""
    shrink = torch.full_like(x[0], ridge)
    shrink[-1] = 1e-12
    found = torch.zeros_like(x[0])

    def value(at: Tensor) -> Tensor:
        z = x @ at
        return (balance * (torch.nn.functional.softplus(z) - y * z)).sum() + (shrink * at**2).sum() / 2

    for _ in range(_STEPS):
        p = torch.sigmoid(x @ found)
        slope = x.T @ (balance * (p - y)) + shrink * found
        curve = x.T @ ((balance * p * (1 - p))[:, None] * x) + torch.diag(shrink)
        step = torch.linalg.solve(curve, slope)
        size = 1.0
        while value(found - size * step) > value(found) and size > 1e-6:
            size /= 2
        found = found - size * step
        if slope.abs().max() < _TOLERANCE:
            break
    return found
