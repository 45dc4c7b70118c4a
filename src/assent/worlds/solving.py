"""Exact optima of small worlds: L-BFGS on a loss of parameters of any shape, in float64."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from assent.objectives import Objective
from assent.robust.lbfgs import minimise
from assent.worlds.stacked import World, initial_state, pair_scores


def solve(loss: Callable[[Tensor], Tensor], start: Tensor, *, max_iter: int = 500, tol: float = 1e-8) -> Tensor:
    """Where the smooth ``loss`` (a scalar of parameters shaped like ``start``) is least, from ``start``.

    Its value must be one whose gradient autograd gives: nothing that moves may be held constant inside.
    tol: largest entry of the gradient.  It may stop above it where rounding stops the descent.
    """

    def flat(x: Tensor) -> tuple[Tensor, Tensor]:
        theta = x.reshape(start.shape).requires_grad_(True)
        value = loss(theta)
        (gradient,) = torch.autograd.grad(value, theta)
        return value.detach(), gradient.reshape(-1)

    found, _, _ = minimise(flat, start.detach().reshape(-1).clone(), max_iter=max_iter, tol=tol)
    return found.detach().reshape(start.shape)


def fit(objective: Objective, world: World, *, l2: float = 0.0) -> Tensor:
    """Parameters [M, ...] where the mean loss of each run plus l2/2 |theta|^2 is least; objectives without a state."""
    state, rows = initial_state(objective, world), world.annotator.shape[1]

    def loss(theta: Tensor) -> Tensor:
        return objective(pair_scores(world, theta), state).sum() / rows + l2 / 2 * theta.square().sum()

    return solve(loss, world.start())
