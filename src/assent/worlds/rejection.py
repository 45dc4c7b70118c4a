"""Pairs from several samplers for one log-linear class: policies sft x exp(phi . theta), reward phi . w and a residual.

50 prompts of 100 responses, phi ~ N(0, I) in 8 dimensions, w ~ N(0, .6^2 I), logits of sft N(0, 1); the best policy is
sft x exp(reward / .5).  Responses that a judge compares are drawn uniformly ("direct", of an unrelated sampler), from sft
("sft"), by rejection from 64 samples of sft ("rso"), or are the best 8 of these ("best 8"); labels follow Bradley-Terry.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from assent.objectives import Objective
from assent.scores import PairScores, Scores
from assent.worlds.stacked import generators

SOURCES = ("direct", "sft", "rso", "best 8")
PROMPTS, RESPONSES, FEATURES, BETA = 50, 100, 8, 0.5
CANDIDATES = 64

Keep = Callable[[str, np.ndarray, np.random.Generator], list[int]]
"""(source, rewards of distinct candidates, draws) -> the numbers of those that stay; asked for "rso" and "best 8"."""


@dataclass(frozen=True)
class World:
    """phi [M, X, Y, d], reward and sft's logits [M, X, Y] of M runs."""

    seeds: tuple[int, ...]
    phi: Tensor
    reward: Tensor
    sft: Tensor

    def divergence(self, theta: Tensor) -> Tensor:
        """KL(best || policy) of parameters [A, M, d], mean over prompts, nats, [A, M]."""
        best = (self.sft + self.reward / BETA).log_softmax(-1)
        return (best.exp() * (best - self.logp(theta))).sum(-1).mean(-1)

    def value(self, theta: Tensor) -> Tensor:
        """E[reward] [A, M], mean over prompts."""
        return (self.logp(theta).exp() * self.reward).sum(-1).mean(-1)

    def logp(self, theta: Tensor) -> Tensor:
        return (self.sft + torch.einsum("mxyd,amd->amxy", self.phi, theta)).log_softmax(-1)


def draw(seeds: Sequence[int], residual: float = 0.0) -> World:
    """residual: standard deviation of what the reward has beside phi . w, for each response."""
    runs = []
    for g in generators(seeds, 61):
        normal = lambda *shape, g=g: torch.randn(*shape, generator=g, dtype=torch.float64)  # noqa: E731
        phi, w, sft = normal(PROMPTS, RESPONSES, FEATURES), 0.6 * normal(FEATURES), normal(PROMPTS, RESPONSES)
        runs.append((phi, phi @ w + residual * normal(PROMPTS, RESPONSES), sft))
    return World(tuple(seeds), *(torch.stack(parts) for parts in zip(*runs, strict=True)))


def pairs(world: World, source: str, count: int, keep: Keep) -> tuple[Tensor, Tensor]:
    """``count`` pairs of each prompt: responses [M, X, 2 count] and whether the first is better [M, X, count]."""
    picked, better = [], []
    for m, seed in enumerate(world.seeds):
        rng = np.random.default_rng([seed, SOURCES.index(source)])
        reward, law = world.reward[m].numpy(), world.sft[m].softmax(-1).numpy()
        own = np.stack([_sides(rng, source, reward[x], law[x] / law[x].sum(), 2 * count, keep) for x in range(PROMPTS)])
        gap = np.take_along_axis(reward, own[:, ::2], 1) - np.take_along_axis(reward, own[:, 1::2], 1)
        picked.append(torch.from_numpy(own))
        better.append(torch.from_numpy(rng.random(gap.shape) < 1 / (1 + np.exp(-gap))))
    return torch.stack(picked), torch.stack(better)


def _sides(
    rng: np.random.Generator, source: str, reward: np.ndarray, law: np.ndarray, count: int, keep: Keep
) -> np.ndarray:
    if source == "direct":
        return rng.choice(RESPONSES, count, replace=False)
    if source == "sft":
        return rng.choice(RESPONSES, count, replace=False, p=law)
    seen = np.unique(rng.choice(RESPONSES, CANDIDATES, p=law))
    return seen[rng.permutation(keep(source, reward[seen], rng))[:count]]


def fit(objective: Objective, world: World, count: int, keep: Keep, steps: int = 600, lr: float = 2.0) -> Tensor:
    """theta [A, M, d] of all sources from 0 by plain gradient descent on the mean over pairs, apart for each source and run."""
    sides = [pairs(world, source, count, keep) for source in SOURCES]
    x = []
    for own, better in sides:
        phi = world.phi.gather(2, own[..., None].expand(*own.shape, FEATURES))
        gap = phi[:, :, ::2] - phi[:, :, 1::2]
        x.append(torch.where(better[..., None], gap, -gap).flatten(1, 2))
    x = torch.stack(x)  # [A, M, N, d]: the normaliser of the softmax cancels in a pair
    theta = x.new_zeros(*x.shape[:2], FEATURES)
    nought = x.new_zeros(x[..., 0].numel())
    for _ in range(steps):
        theta.requires_grad_(True)
        chosen = Scores(torch.einsum("amnd,amd->amn", x, theta).flatten(), nought)
        loss = objective(PairScores(chosen, Scores(nought, nought)))
        (slope,) = torch.autograd.grad(loss.sum() / x.shape[2], theta)
        theta = theta.detach() - lr * slope
    return theta.detach()
