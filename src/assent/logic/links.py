"""The links from rho to a loss: convex functions of rho and beta, by name, with their slopes in rho."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor
from torch.nn.functional import relu, softplus

from assent.objectives.primitives import squared_error

LINKS: dict[str, Callable[[Tensor, float], Tensor]] = {
    "logistic": lambda rho, beta: softplus(-rho if beta == 1 else rho * -beta),  # less than logistic()
    "hinge": lambda rho, beta: relu(beta - rho),
    "squared": lambda rho, beta: squared_error(rho, 1 / (2 * beta)),
}
"""-log sigmoid(beta rho); max(0, beta - rho); (rho - 1 / (2 beta))^2."""

SLOPES: dict[str, Callable[[Tensor, float], Tensor]] = {
    "logistic": lambda rho, beta: rho.neg().sigmoid_().neg_() if beta == 1 else (rho * -beta).sigmoid_().mul_(-beta),
    "hinge": lambda rho, beta: (rho < beta).to(rho).neg_(),
    "squared": lambda rho, beta: (rho - 1 / (2 * beta)).mul_(2),
}
"""d loss / d rho of every link [P]; the hinge has none at rho = beta."""
