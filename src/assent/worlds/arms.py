"""Arms with a preference matrix that no reward explains: a generator and a reviser as tables, both against uniform references.

P[a, b] is the probability that a is preferred to b.  Pairs are two arms drawn from mu and labelled by P.
Policies are logits [M, A + 1, A]: the generator's first, then the reviser's after each answer.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from assent.objectives import Objective
from assent.scores import PairScores, Scores
from assent.worlds.solving import solve


def preferences(*better: tuple[int, int, float], arms: int = 3) -> Tensor:
    """P [A, A] from (a, b, P(a preferred to b)); 1/2 elsewhere."""
    p = torch.full((arms, arms), 0.5, dtype=torch.float64)
    for a, b, chance in better:
        p[a, b], p[b, a] = chance, 1 - chance
    return p


def population(p: Tensor, mu: Tensor) -> Tensor:
    """How often each ordered pair (preferred, other) occurs, equal arms included, [..., A, A], for mu [..., A]."""
    return 2 * mu[..., :, None] * mu[..., None, :] * p


def sample(share: Tensor, count: int, g: torch.Generator) -> Tensor:
    """``share`` [A, A] as found in ``count`` draws."""
    drawn = torch.multinomial(share.flatten(), count, replacement=True, generator=g)
    return torch.bincount(drawn, minlength=share.numel()).double().reshape(share.shape) / count


def scores(theta: Tensor) -> PairScores:
    """All ordered pairs of different arms of M runs with the reviser's four views, [M A (A - 1)]."""
    arms = theta.shape[2]
    w, l = (~torch.eye(arms, dtype=torch.bool)).nonzero().T
    logp = theta.log_softmax(2)
    reference = torch.full((len(theta) * len(w),), -math.log(arms), dtype=theta.dtype)
    side = {"chosen": w, "rejected": l}
    says = lambda given, arm: Scores(logp[:, given, arm].flatten(), reference)  # noqa: E731
    return PairScores(
        *(says(torch.zeros_like(arm), arm) for arm in (w, l)),
        views={f"{a}|{c}": says(1 + side[c], side[a]) for a in side for c in side},
    )


def optimum(objective: Objective, share: Tensor) -> Tensor:
    """Logits [M, A + 1, A] where the mean loss of pairs with shares [M, A, A] is least, equal arms dropped."""
    runs, arms, _ = share.shape
    weight = share[:, ~torch.eye(arms, dtype=torch.bool)]
    weight = (weight / weight.sum(1, keepdim=True)).flatten()
    start = torch.zeros(runs, arms + 1, arms, dtype=torch.float64)
    return solve(lambda theta: (weight * objective(scores(theta))).sum(), start, max_iter=300, tol=1e-9)


def closed_form(p: Tensor, beta: float) -> tuple[Tensor, Tensor]:
    """The generator [A] and the reviser [A, A] (row c: after answer c) that solve the game between them."""
    tilted = torch.exp(p.T / beta) / len(p)
    normaliser = tilted.sum(1)
    return (1 / normaliser) / (1 / normaliser).sum(), tilted / normaliser[:, None]


def revised(reviser: Tensor, p: Tensor) -> Tensor:
    """How often a revision of answer c is preferred to it, [..., A], for a reviser [..., A, A]."""
    return (reviser * p.T).sum(-1)


def apart(first: Tensor, second: Tensor) -> Tensor:
    """Total variation between distributions [..., A]."""
    return (first - second).abs().sum(-1) / 2
