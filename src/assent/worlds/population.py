"""Tabular softmax policies on labels without sampling error: every judgement that could be made, weighed by how often it is.

Rewards [M, X, Y] of Y responses to X prompts, M runs; the reference is uniform.  On pairs both orders (a, b) of any two
responses occur, with weight P(a is preferred) = sigmoid(r_a - r_b) unless the caller has other odds.  On single completions
each response is liked with a probability of its own; liked and disliked ones have the same total weight.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from assent.objectives import Objective, RunInfo, step_loss
from assent.objectives.parts import State
from assent.scores import Column, PairScores, Scores
from assent.worlds.solving import solve


def orders(responses: int, coincide: bool = False) -> tuple[Tensor, Tensor]:
    """The chosen and the rejected response of all Q = Y (Y - 1) ordered pairs, [Q] each.

    coincide: two draws from the reference, which may be the same response; then Q = Y^2.
    """
    chosen, rejected = torch.meshgrid(*[torch.arange(responses)] * 2, indexing="ij")
    kept = torch.ones_like(chosen, dtype=torch.bool) if coincide else chosen != rejected
    return chosen[kept], rejected[kept]


def differences(values: Tensor, coincide: bool = False) -> Tensor:
    """Chosen less rejected values of all ordered pairs, [..., Y] -> [..., Q]."""
    chosen, rejected = orders(values.shape[-1], coincide)
    return values[..., chosen] - values[..., rejected]


def pair_scores(theta: Tensor, logit: Tensor, columns: Mapping[str, Column] | None = None) -> PairScores:
    """All ordered pairs of the softmax policies theta [..., X, Y] as one batch; logit [..., X, Q]: of the stored order."""
    logp, coincide = theta.log_softmax(-1), logit.shape[-1] == theta.shape[-1] ** 2
    chosen, rejected = (logp[..., side].reshape(-1) for side in orders(theta.shape[-1], coincide))
    uniform = torch.full_like(chosen.detach(), -math.log(theta.shape[-1]))
    return PairScores(
        chosen=Scores(chosen, uniform),
        rejected=Scores(rejected, uniform),
        weight=torch.sigmoid(logit).reshape(-1),
        columns=dict(columns or {}),
    )


def optimum(objective: Objective, logit: Tensor, start: Tensor, columns: Mapping[str, Column] | None = None) -> Tensor:
    """Logits [..., X, Y] of the policies that minimise a pairwise loss that keeps no state, from ``start``."""
    prompts = start.numel() // start.shape[-1]  # each prompt counts by itself, however many there are
    return solve(lambda theta: prompts * step_loss(objective, pair_scores(theta, logit, columns)), start)


def liked_scores(theta: Tensor, liked: Tensor, columns: Mapping[str, Tensor] | None = None) -> Scores:
    """Every response [X, Y] once as liked and once as disliked; liked [X, Y]: the probability.

    columns: further values of the liked and then of the disliked rows, [2 X Y] each.
    """
    logp = theta.log_softmax(-1).reshape(-1)
    up, down = liked.reshape(-1), 1 - liked.reshape(-1)
    label = torch.cat([torch.ones_like(up), torch.zeros_like(down)])
    weight = torch.cat([up / up.sum(), down / down.sum()])
    uniform = torch.full_like(label, -math.log(theta.shape[-1]))
    return Scores(torch.cat([logp, logp]), uniform, columns={"label": label, "weight": weight, **(columns or {})})


def prompt_ratio(liked: Tensor) -> Tensor:
    """p(prompt | liked) / p(prompt | disliked) of every prompt, [X, Y] -> [X]."""
    up, down = liked.sum(1), (1 - liked).sum(1)
    return (up / up.sum()) / (down / down.sum())


def settle(
    objective: Objective,
    scores: Callable[[Tensor], Scores | PairScores],
    start: Tensor,
    *,
    rounds: int = 60,
    tol: float = 1e-4,
) -> tuple[Tensor, State]:
    """Where a loss with a running statistic rests: minimise with the statistic held, update it, and so on.

    objective: reads its statistic from the rounds before (statistic="previous", decay=0).  scores: a function of theta.
    Ends when an update moves no entry of the parameters by more than ``tol``.
    """
    theta, state = start, objective.init(RunInfo())
    prompts = start.shape[0]
    for _ in range(rounds):
        found = solve(lambda at, held=state: prompts * step_loss(objective, scores(at), held), theta, tol=1e-8)
        with torch.no_grad():
            state = objective.update(state, objective.sums(scores(found), state))
        moved, theta = (found - theta).abs().max(), found
        if moved < tol:
            break
    return theta, state
