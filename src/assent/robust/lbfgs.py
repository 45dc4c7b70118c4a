"""A small L-BFGS for smooth functions with their gradient at hand; torch's own imports its compiler on first use (2 s)."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor


def minimise(
    function: Callable[[Tensor], tuple[Tensor, Tensor]],
    x: Tensor,
    *,
    max_iter: int = 200,
    tol: float = 1e-6,
    memory: int = 20,
) -> tuple[Tensor, int, bool]:
    """(x, iterations, converged) near a minimum of ``function`` (value, gradient) by Nocedal's two-loop recursion.

    Steps are halved until the value falls enough (Armijo); a pair that shows no positive curvature is left out.
    Converged means that no entry of the gradient exceeds ``tol``.
    """
    value, gradient = function(x)
    pairs: list[tuple[Tensor, Tensor, float]] = []
    for iteration in range(max_iter):
        if float(gradient.abs().max()) <= tol:
            return x, iteration, True
        direction = -_apply_inverse(pairs, gradient)
        slope = float(direction @ gradient)
        if slope >= 0:
            pairs, direction, slope = [], -gradient, -float(gradient @ gradient)
        length = 1.0 if pairs else min(1.0, 1.0 / float(gradient.abs().max()))
        for _ in range(40):
            new = x + length * direction
            new_value, new_gradient = function(new)
            if float(new_value) <= float(value) + 1e-4 * length * slope:
                break
            length /= 2
        else:
            return x, iteration, False
        step, change = new - x, new_gradient - gradient
        curvature = float(step @ change)
        if curvature > 1e-10 * float(step.norm() * change.norm()):
            pairs = [*pairs[-(memory - 1) :], (step, change, curvature)]
        x, value, gradient = new, new_value, new_gradient
    return x, max_iter, float(gradient.abs().max()) <= tol


def _apply_inverse(pairs: list[tuple[Tensor, Tensor, float]], gradient: Tensor) -> Tensor:
    """The approximate inverse Hessian times ``gradient``."""
    q, lengths = gradient.clone(), []
    for step, change, curvature in reversed(pairs):
        lengths.append(float(step @ q) / curvature)
        q -= lengths[-1] * change
    if pairs:
        step, change, curvature = pairs[-1]
        q *= curvature / float(change @ change)
    for (step, change, curvature), length in zip(pairs, reversed(lengths), strict=True):
        q += (length - float(change @ q) / curvature) * step
    return q
