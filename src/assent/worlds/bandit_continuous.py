"""The continuous version of the didactic bandit of arXiv:2404.14367: ten coordinates, each a squashed Cauchy variable.

An action is v = tanh(z) in [-1, 1]^10.  Under the reference z ~ Cauchy(-.7, .4) in every coordinate, so that the 100 bins of
`bandit` hold its masses; the reward is the mean over coordinates of the same bump, exp(-((50 (v + 1) - .5 - peak) / 10)^2).  A
policy has a location and a log scale for every coordinate and starts at the reference; the project's sheet tells neither the
authors' policy nor its rate, .05 here as in the table.  Draws, losses and `learn` are those of the table; an action is one
token, its log-probability a log-density in v, nats.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from assent.worlds.bandit import ACTIONS, DRAWS, RATE, Loss, learn
from assent.worlds.stacked import generators

SIZE, LOCATION, SCALE, QUANTILES = 10, -0.7, 0.4, 20_000


def reward(z: Tensor, peak: float | Tensor, width: float = 10.0) -> Tensor:
    """The bump at tanh(z), entry by entry; R1 peaks at 70, R2 at 20, as in the table."""
    return (-(((ACTIONS / 2 * (z.tanh() + 1) - 0.5 - peak) / width) ** 2)).exp()


def log_density(z: Tensor, location: Tensor | float, log_scale: Tensor | float) -> Tensor:
    """log p(v) of v = tanh(z), entry by entry."""
    log_scale = torch.as_tensor(log_scale, dtype=z.dtype)
    cauchy = -math.log(math.pi) - log_scale - torch.log1p(((z - location) / log_scale.exp()) ** 2)
    return cauchy - 2 * (math.log(2) - z - torch.nn.functional.softplus(-2 * z))  # less log(1 - tanh^2)


class Squashed:
    """Location and log scale [M, 10] each, for ``peaks`` x ``seeds`` runs; draws are z [M, C, 10, 10], coordinates last."""

    def __init__(self, peaks: Sequence[float], seeds: Sequence[int], contexts: int) -> None:
        self.peaks = torch.tensor(peaks, dtype=torch.float64).repeat_interleave(len(seeds))
        self.draws, self.contexts = generators(seeds, 79), contexts
        shape = (len(self.peaks), SIZE)
        self.location = torch.full(shape, LOCATION, dtype=torch.float64).requires_grad_()
        self.log_scale = torch.full(shape, math.log(SCALE), dtype=torch.float64).requires_grad_()
        self.weights = [self.location, self.log_scale]

    def sample(self, first: bool) -> Tensor:
        shape = (self.contexts, DRAWS, SIZE)
        noise = torch.stack([torch.rand(shape, generator=g, dtype=torch.float64) for g in self.draws])
        return self._at(noise.repeat(len(self.peaks) // len(self.draws), 1, 1, 1))

    def _at(self, noise: Tensor) -> Tensor:
        """z where the policies' distribution functions are ``noise`` [M, ..., 10]; ends of the range are cut at |z| = 15."""
        lead = (len(self.peaks), *(1,) * (noise.dim() - 2), SIZE)
        location, scale = self.location.view(lead), self.log_scale.exp().view(lead)
        return (location + scale * (math.pi * (noise - 0.5)).tan()).clamp(-15, 15)

    def logp(self, drawn: Tensor) -> Tensor:
        lead = (len(self.peaks), 1, 1, SIZE)
        return log_density(drawn, self.location.view(lead), self.log_scale.view(lead)).sum(-1, keepdim=True)

    def ref_logp(self, drawn: Tensor) -> Tensor:
        return log_density(drawn, LOCATION, math.log(SCALE)).sum(-1, keepdim=True)

    def reward(self, drawn: Tensor) -> Tensor:
        return reward(drawn, self.peaks.view(-1, 1, 1, 1)).mean(-1)

    @torch.no_grad()
    def expected(self) -> Tensor:
        """E[r] [M], the mean over equally likely quantiles of each coordinate."""
        noise = (torch.arange(QUANTILES, dtype=torch.float64)[:, None] + 0.5) / QUANTILES
        return reward(self._at(noise.expand(len(self.peaks), QUANTILES, SIZE)), self.peaks.view(-1, 1, 1)).mean((1, 2))


def fit(
    loss: Loss, peaks: Sequence[float], seeds: Sequence[int], *, contexts: int, rounds: int = 1, steps: int = 200
) -> Tensor:
    """Expected rewards [peaks, seeds] after ``rounds`` of ``contexts`` x 10 draws and ``steps`` each."""
    policy = Squashed(peaks, seeds, contexts)
    learn(policy, loss, rounds=rounds, steps=steps, rate=RATE)
    return policy.expected().view(len(peaks), len(seeds))
