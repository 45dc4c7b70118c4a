"""Plain gradient descent of the registry's losses on logits [M, A]: exact expectations over all pairs, M runs side by side."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from assent.games.equilibrium import Game
from assent.games.mirror import mixture
from assent.objectives import Objective
from assent.scores import PairScores, Scores

Law = Callable[[Tensor], Tensor]
"""Logits [M, A] -> the law [M, A] that both completions of a pair are drawn from; no gradient goes through it."""


def slopes(objective: Objective, game: Game, theta: Tensor, law: Tensor) -> Tensor:
    """Gradient [M, A] of the expected loss: both completions from ``law`` [M, A], the label with the game's probability."""
    arms = theta.shape[-1]
    first, second = (~torch.eye(arms, dtype=torch.bool)).nonzero().T
    theta = theta.detach().requires_grad_()
    logp, ref = theta.log_softmax(-1), game.ref.expand_as(theta)
    sides = (Scores(logp[:, side].flatten(), ref[:, side].flatten()) for side in (first, second))
    target = game.p.expand(len(theta), arms, arms)[:, first, second]
    loss = objective(PairScores(*sides, target=target.flatten()))
    law = law.detach().expand_as(theta)
    (found,) = torch.autograd.grad(((law[:, first] * law[:, second]).flatten() * loss).sum(), theta)
    return found


def descend(objective: Objective, game: Game, law: Law, start: Tensor, rate: float, steps: int) -> Tensor:
    """Logits after ``steps`` of plain descent from ``start`` [M, A]."""
    theta = start
    for _ in range(steps):
        theta = theta - rate * slopes(objective, game, theta, law(theta))
    return theta


def settle(
    objective: Objective,
    game: Game,
    law: Law,
    start: Tensor,
    rate: float,
    *,
    tolerance: float = 1e-13,
    most: int = 20_000,
) -> Tensor:
    """Descent with steps that the law of the pairs preconditions (rate / law), until no logit moves by ``tolerance``.

    It stands still where plain descent does and gets there sooner.
    """
    theta = start
    for _ in range(most):
        now = law(theta)
        move = rate * slopes(objective, game, theta, now) / now
        move = move - move.mean(-1, keepdim=True)
        theta = theta - move
        if float(move.abs().max()) < tolerance:
            break
    return theta


def policy_gradient(game: Game, size: float, rate: float, steps: int) -> Tensor:
    """Nash-MD-PG from the reference: exact ascent on E_pi P(y > mixture) - tau KL, the mixture held; logits [M, A]."""
    theta = game.ref
    for _ in range(steps):
        pi = theta.softmax(-1)
        f = game.against(mixture(game, theta, size)) - game.tau * (theta.log_softmax(-1) - game.ref)
        theta = theta + rate * pi * (f - (pi * f).sum(-1, keepdim=True))
    return theta
