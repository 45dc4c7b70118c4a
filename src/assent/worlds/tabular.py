"""A tabular world: softmax policies over a few responses to a few prompts, with the exact regret of E[r] - beta KL.

Rewards r ~ N(0, spread^2); the reference is uniform; the best policy is softmax(r / beta).  A row is a prompt, two
distinct responses, an order drawn from Bradley-Terry on r for this row, and an annotator who flips it with
probability 1 - reliability.  Rows are independent draws, as in the LCPO sheet's world D (one latent order per row).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from assent.worlds.stacked import generators


@dataclass(frozen=True)
class Tabular:
    """M runs of N rows over X prompts and Y responses.

    reward [M, X, Y].  prompt, chosen, rejected [M, N] int.  annotator [M, N], right [M, N], reliability [M, K] as in
    `stacked.World`.
    """

    seeds: tuple[int, ...]
    reward: Tensor
    prompt: Tensor
    chosen: Tensor
    rejected: Tensor
    annotator: Tensor
    right: Tensor
    reliability: Tensor

    def start(self) -> Tensor:
        """The uniform reference: logits 0, [M, X, Y]."""
        return torch.zeros_like(self.reward)

    def logp(self, theta: Tensor, rows: Tensor) -> tuple[Tensor, Tensor, float]:
        """Log-probabilities of chosen and rejected [M, B], nats, and the uniform reference's -log Y."""
        responses = theta.shape[2]
        logp = theta.log_softmax(2).flatten(1)
        prompt = self.prompt.gather(1, rows) * responses
        chosen = logp.gather(1, prompt + self.chosen.gather(1, rows))
        rejected = logp.gather(1, prompt + self.rejected.gather(1, rows))
        return chosen, rejected, -math.log(responses)

    def anonymous(self) -> Tabular:
        """The same labels with the annotators' names hidden: K = 1, its reliability the share of right labels expected."""
        mean = self.reliability.gather(1, self.annotator).mean(1, keepdim=True)
        return replace(self, annotator=torch.zeros_like(self.annotator), reliability=mean)

    def clean(self) -> Tabular:
        """The same rows stored in their latent order: what labels without noise would have said."""
        return replace(
            self,
            chosen=torch.where(self.right, self.chosen, self.rejected),
            rejected=torch.where(self.right, self.rejected, self.chosen),
            right=torch.ones_like(self.right),
            reliability=torch.ones_like(self.reliability),
        )


def draw(
    seeds: Sequence[int],
    reliability: Sequence[float],
    *,
    rows: int = 6000,
    prompts: int = 20,
    responses: int = 5,
    spread: float = 1.5,
) -> Tabular:
    """One run a seed: ``rows`` rows shared evenly among annotators of the given reliability."""
    runs = [_draw_one(g, reliability, rows, prompts, responses, spread) for g in generators(seeds, 3)]
    reward, prompt, chosen, rejected, right = (torch.stack(parts) for parts in zip(*runs, strict=True))
    annotator = (torch.arange(rows) % len(reliability)).expand(len(runs), -1)
    eta = torch.tensor(reliability, dtype=torch.float64).expand(len(runs), -1)
    return Tabular(tuple(seeds), reward, prompt, chosen, rejected, annotator, right, eta)


def _draw_one(
    g: torch.Generator, reliability: Sequence[float], rows: int, prompts: int, responses: int, spread: float
) -> tuple[Tensor, ...]:
    uniform = lambda: torch.rand(rows, generator=g, dtype=torch.float64)  # noqa: E731
    reward = spread * torch.randn(prompts, responses, generator=g, dtype=torch.float64)
    prompt = torch.randint(prompts, (rows,), generator=g)
    first = torch.randint(responses, (rows,), generator=g)
    second = (first + 1 + torch.randint(responses - 1, (rows,), generator=g)) % responses
    better = uniform() < torch.sigmoid(reward[prompt, first] - reward[prompt, second])
    eta = torch.tensor(reliability, dtype=torch.float64)[torch.arange(rows) % len(reliability)]
    right = uniform() < eta
    keep = better == right
    return reward, prompt, torch.where(keep, first, second), torch.where(keep, second, first), right


def value(theta: Tensor, reward: Tensor, beta: float = 1.0) -> Tensor:
    """E[r] - beta KL(policy || uniform) of the softmax policy with logits ``theta`` [M, X, Y], mean over prompts, [M]."""
    logp = theta.log_softmax(2)
    kl = logp + math.log(theta.shape[2])
    return (logp.exp() * (reward - beta * kl)).sum(2).mean(1)


def regret(theta: Tensor, reward: Tensor, beta: float = 1.0) -> Tensor:
    """How far the policy stays below the best one, softmax(reward / beta), in units of reward, [M]; never negative."""
    return value(reward / beta, reward, beta) - value(theta, reward, beta)
