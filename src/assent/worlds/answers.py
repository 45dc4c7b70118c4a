"""Tables that learn from samples compared with a reference answer: 20 prompts of 50 responses with qualities q ~ U(0, 1).

The answer is the response at the 80th percentile; a judge says whether a sample's quality is above, equal to or below the
answer's (1, 0, -1).  Logits start at -cold q + .3 N(0, 1).  Each step every prompt draws 8 responses with replacement and plain
gradient descent follows, rate .5 on each prompt's loss.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from assent.objectives import Objective
from assent.objectives.kinds import GroupObjective
from assent.scores import GroupScores, Scores, Tokens
from assent.worlds.stacked import generators

PROMPTS, RESPONSES, SAMPLES = 20, 50, 8


@dataclass(frozen=True)
class World:
    """quality, start [M, C, X, Y] for M runs and C coldnesses; answer [M, C, X, 1] int."""

    seeds: tuple[int, ...]
    quality: Tensor
    start: Tensor
    answer: Tensor

    def measures(self, theta: Tensor) -> dict[str, Tensor]:
        """Mean quality, P(a sample beats the answer) and P(answer) [M, C], means over prompts."""
        p, mark = theta.softmax(-1), self.quality.gather(-1, self.answer)
        found = {
            "quality": (p * self.quality).sum(-1),
            "beats": (p * (self.quality > mark)).sum(-1),
            "answer": p.gather(-1, self.answer).squeeze(-1),
        }
        return {name: values.mean(-1) for name, values in found.items()}


def draw(seeds: Sequence[int], cold: Sequence[float]) -> World:
    """The same qualities and noise for each coldness of a run."""
    runs = []
    for g in generators(seeds, 64):
        quality = torch.rand(PROMPTS, RESPONSES, generator=g, dtype=torch.float64)
        noise = 0.3 * torch.randn(PROMPTS, RESPONSES, generator=g, dtype=torch.float64)
        runs.append((quality.expand(len(cold), -1, -1), torch.stack([noise - c * quality for c in cold])))
    quality, start = (torch.stack(parts) for parts in zip(*runs, strict=True))
    answer = quality.argsort(-1)[..., int(0.8 * RESPONSES), None]
    return World(tuple(seeds), quality, start, answer)


def fit(objective: Objective, world: World, steps: Sequence[int], answered: bool = True) -> list[Tensor]:
    """Logits [M, C, X, Y] after each number of ``steps``, which increase.

    answered: whether the answer stands last in its group; an objective of completions sees the answer alone.
    """
    theta, draws, found = world.start.clone(), generators(world.seeds, 65), []
    mark = world.quality.gather(-1, world.answer)
    for step in range(1, steps[-1] + 1):
        uniform = torch.stack([torch.rand(*theta.shape[1:3], SAMPLES, generator=g, dtype=torch.float64) for g in draws])
        reach = theta.softmax(-1).cumsum(-1)
        picked = torch.searchsorted(reach, uniform * reach[..., -1:], right=True).clamp_max(RESPONSES - 1)
        picked = torch.cat([picked, world.answer], -1) if answered else picked
        theta.requires_grad_(True)
        logp = theta.log_softmax(-1)
        if isinstance(objective, GroupObjective):
            reward = (world.quality.gather(-1, picked) - mark).sign()
            loss = objective(_groups(logp.gather(-1, picked), reward))
        else:
            own = logp.gather(-1, world.answer).flatten()
            loss = objective(Scores(own, None, torch.ones_like(own, dtype=torch.long)))
        (slope,) = torch.autograd.grad(loss.sum(), theta)
        theta = theta.detach() - 0.5 * slope
        if step in steps:
            found.append(theta.clone())
    return found


def _groups(logp: Tensor, reward: Tensor) -> GroupScores:
    """Completions of one token each; they were drawn from the policy as it is."""
    size, flat = logp.shape[-1], logp.flatten()
    row, old = torch.arange(len(flat)), flat.detach()
    tokens = Tokens(row, torch.zeros_like(row), flat, old, columns={"old_logp": old})
    return GroupScores(Scores(flat, old, torch.ones_like(row), tokens), row // size, reward.flatten())
