"""A linear policy beside a reference that ranks at random on a scale of its own: how far DPO can turn its order.

The reference's gap c = log r(l) / r(w) is drawn apart from the features x; the policy's move of a pair is
m = scale x . theta, x the features of the chosen side less those of the other, so that its gap is m - c, in nats.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from assent.objectives import Objective
from assent.scores import PairScores, Scores
from assent.worlds.stacked import generators


@dataclass(frozen=True)
class ReferenceGap:
    """M runs of N pairs.  x [M, N, d]: features in the stored order.  c [M, N]: the reference's gap against it, nats."""

    x: Tensor
    c: Tensor
    train: int
    scale: float = 10.0

    def moves(self, theta: Tensor) -> Tensor:
        """The policy's move [M, N] of every pair's log-ratio gap at theta [M, d]."""
        return self.scale * torch.einsum("mnd,md->mn", self.x, theta)


def draw(
    seeds: Sequence[int], mean: float, spread: float, *, pairs: int = 1000, features: int = 50, train: int = 700
) -> ReferenceGap:
    """c ~ N(mean, spread^2); labels from sigmoid(3 x . w), |w| = 1, x ~ N(0, I); the first ``train`` pairs are trained on."""
    runs = []
    for g in generators(seeds, 11):
        w = torch.randn(features, generator=g, dtype=torch.float64)
        x = torch.randn(pairs, features, generator=g, dtype=torch.float64)
        first = torch.rand(pairs, generator=g, dtype=torch.float64) < torch.sigmoid(3 * x @ (w / w.norm()))
        c = mean + spread * torch.randn(pairs, generator=g, dtype=torch.float64)
        runs.append((x * torch.where(first, 1.0, -1.0).double()[:, None], c))
    x, c = (torch.stack(parts) for parts in zip(*runs, strict=True))
    return ReferenceGap(x, c, train)


def scores(move: Tensor, c: Tensor) -> PairScores:
    """Scores of pairs [P] of reference gap c whose log-ratio gap is ``move``, half of either on a side."""
    return PairScores(Scores((move - c) / 2, -c / 2), Scores((c - move) / 2, c / 2))


def fit(objective: Objective, world: ReferenceGap, steps: int = 200, lr: float = 5.0) -> tuple[Tensor, Tensor]:
    """Full-batch gradient descent: theta [M, d] of the lowest validation loss, and (first, lowest) of that loss [2, M]."""
    theta = world.x.new_zeros(len(world.x), world.x.shape[2], requires_grad=True)
    best, lowest, first = theta.detach().clone(), None, None
    for _ in range(steps + 1):
        loss = objective(scores(world.moves(theta).reshape(-1), world.c.reshape(-1))).reshape(world.c.shape)
        held_out = loss[:, world.train :].detach().mean(1)
        first = held_out if first is None else first
        better = held_out < (lowest if lowest is not None else float("inf"))
        lowest = held_out if lowest is None else torch.minimum(lowest, held_out)
        best = torch.where(better[:, None], theta.detach(), best)
        (slope,) = torch.autograd.grad(loss[:, : world.train].mean(1).sum(), theta)
        theta = (theta - lr * slope).detach().requires_grad_(True)
    return best, torch.stack([first, lowest])
