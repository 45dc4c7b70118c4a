"""A log-linear world: policies softmax(phi . theta) over a few responses to many prompts, beside a uniform reference.

Features phi ~ N(0, I), reward phi . theta*; beta = 1, so that theta* is the best policy of E[r] - KL.  A row is a prompt
and two distinct responses drawn uniformly, an order drawn from Bradley-Terry, and a flip at a known rate.  Losses of
margins see the world as a linear one (`worlds.linear`): the normaliser of the softmax cancels.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from assent.worlds import tabular
from assent.worlds.linear import Linear
from assent.worlds.stacked import generators


def draw(
    seeds: Sequence[int],
    flip: float,
    *,
    rows: int,
    prompts: int = 200,
    responses: int = 6,
    features: int = 8,
    norm: float = 2.0,
) -> tuple[Linear, Tensor]:
    """One run a seed: ``rows`` judged pairs, and the features phi [M, X, Y, d] of all responses."""
    runs = [_draw_one(g, flip, rows, (prompts, responses, features), norm) for g in generators(seeds, 5)]
    phi, truth, x, right = (torch.stack(parts) for parts in zip(*runs, strict=True))
    reliability = torch.full((len(runs), 1), 1 - flip, dtype=torch.float64)
    annotator = torch.zeros(right.shape, dtype=torch.long)
    return Linear(tuple(seeds), x, truth, annotator, right, reliability), phi


def _draw_one(
    g: torch.Generator, flip: float, rows: int, shape: tuple[int, int, int], norm: float
) -> tuple[Tensor, ...]:
    prompts, responses, features = shape
    truth = torch.randn(features, generator=g, dtype=torch.float64)
    truth = norm * truth / truth.norm()
    phi = torch.randn(shape, generator=g, dtype=torch.float64)
    prompt = torch.randint(prompts, (rows,), generator=g)
    first = torch.randint(responses, (rows,), generator=g)
    second = (first + 1 + torch.randint(responses - 1, (rows,), generator=g)) % responses
    x = phi[prompt, first] - phi[prompt, second]
    better = torch.rand(rows, generator=g, dtype=torch.float64) < torch.sigmoid(x @ truth)
    right = torch.rand(rows, generator=g, dtype=torch.float64) >= flip
    sign = torch.where(better == right, 1.0, -1.0).double()
    return phi, truth, x * sign[:, None], right


def regret(theta: Tensor, phi: Tensor, truth: Tensor) -> Tensor:
    """How far softmax(phi . theta), theta [M, d], stays below the best policy in E[r] - KL, mean over prompts, [M]."""
    logits, reward = (torch.einsum("mxyd,md->mxy", phi, at) for at in (theta, truth))
    return tabular.regret(logits, reward)
