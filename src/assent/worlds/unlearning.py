"""Two sets for unlearning, one to retain and one to forget: the synthetic world of arXiv:2404.05868, M runs stacked.

Inputs to retain ~ N(-alpha 1, I) in 16 dimensions and to forget ~ N(+alpha 1, I); 128 random ReLU features, a linear head
of two classes.  Plain full-batch descent, float64.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from assent.objectives import parse, step_loss
from assent.scores import Scores
from assent.worlds.stacked import generators

DIMENSIONS, FEATURES, FRESH, EVERY = 16, 128, 1000, 20


@dataclass(frozen=True)
class World:
    """M worlds of N inputs, those to retain first: features [M, N, F], targets +-1 [M, N], retain [N], fresh [M, 2000, F]."""

    features: Tensor
    target: Tensor
    retain: Tensor
    fresh: Tensor


def draw(seeds: Sequence[int], alpha: float, counts: tuple[int, int] = (1000, 200)) -> World:
    """Independent worlds; target +1 is the class of logit sum(x - mean) / 4 + 1 on retain inputs, of its opposite on forget."""
    runs = []
    for g in generators(seeds, 41):
        weights = torch.randn(DIMENSIONS, FEATURES, generator=g, dtype=torch.float64) / DIMENSIONS**0.5
        noise = [torch.randn(n, DIMENSIONS, generator=g, dtype=torch.float64) for n in counts]
        likely = [torch.rand(len(x), generator=g, dtype=torch.float64) < torch.sigmoid(x.sum(1) / 4 + 1) for x in noise]
        fresh = torch.randn(2, FRESH, DIMENSIONS, generator=g, dtype=torch.float64)
        fresh = torch.cat([fresh[0] - alpha, fresh[1] + alpha])
        x = torch.cat([noise[0] - alpha, noise[1] + alpha])
        target = torch.where(torch.cat([likely[0], ~likely[1]]), 1.0, -1.0).double()
        runs.append(((x @ weights).relu(), target, (fresh @ weights).relu()))
    features, target, fresh = (torch.stack(part) for part in zip(*runs, strict=True))
    return World(features, target, torch.arange(sum(counts)) < counts[0], fresh)


def fitted(world: World, steps: int = 20_000, lr: float = 0.05) -> Tensor:
    """The heads "before" and "retrained" [M, 2, F] by plain descent on the mean cross-entropy.

    A head of two classes that starts at 0 keeps opposite columns, u/2 and -u/2: u descends at twice the rate.
    """
    kept = world.retain.double()
    shares = torch.stack([torch.full_like(kept, 1 / len(kept)), kept / kept.sum()])
    target, turned = world.target[:, None], world.features.mT.contiguous()
    u = world.features.new_zeros(len(world.features), 2, FEATURES)
    for _ in range(steps):
        u += 2 * lr * (shares * target * torch.sigmoid(-target * (u @ turned))) @ world.features
    return u


@dataclass(frozen=True)
class Course:
    """A run of forgetting: KL on forget and retain inputs [S, M] from the start on, and the head's way [M]."""

    forget: Tensor
    retain: Tensor
    distance: Tensor

    def figures(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The best KL on forget inputs, the KL on retain inputs there, and both at the end; [M] each."""
        best = self.forget.argmin(0, keepdim=True)
        return self.forget.gather(0, best)[0], self.retain.gather(0, best)[0], self.forget[-1], self.retain[-1]


def forgotten(
    world: World, heads: Tensor, methods: Mapping[str, tuple[str, float]], steps: int = 2000
) -> dict[str, Course]:
    """Courses of several methods from one start, side by side."""
    start, runs = heads[:, :1], len(heads)
    objectives = [parse(text) for text, _ in methods.values()]
    rate = 2 * torch.tensor([lr for _, lr in methods.values()], dtype=torch.float64)[:, None]
    ones = torch.ones_like(world.target).reshape(-1)
    columns = {"label": world.retain.double().repeat(runs)}
    turned, fresh = world.features.mT.contiguous(), world.fresh.mT.contiguous()
    log_p = lambda u: logsigmoid(world.target[:, None] * (u @ turned)).transpose(0, 1).flatten(1)  # noqa: E731
    ref, goal = log_p(start)[0], heads[:, 1:] @ fresh
    u, path = start.repeat(1, len(methods), 1), []
    for step in range(steps + 1):
        if step % EVERY == 0:
            path.append(divergence(goal, u.detach() @ fresh))
        if step < steps:
            u.requires_grad_(True)
            logp = log_p(u)
            losses = [step_loss(o, Scores(logp[k], ref, ones, columns=columns)) for k, o in enumerate(objectives)]
            (slope,) = torch.autograd.grad(runs * torch.stack(losses).sum(), u)
            u = u.detach() - rate * slope
    kl, way = torch.stack(path), (u - start).norm(dim=2) / 2**0.5
    return {m: Course(kl[:, :, k, 1], kl[:, :, k, 0], way[:, k]) for k, m in enumerate(methods)}


def divergence(goal: Tensor, logit: Tensor) -> Tensor:
    """KL of two-class policies, mean over the fresh inputs of each set -> [M, K, (retain, forget)]."""
    p = torch.sigmoid(goal)
    kl = p * (logsigmoid(goal) - logsigmoid(logit)) + (1 - p) * (logsigmoid(-goal) - logsigmoid(-logit))
    return kl.unflatten(2, (2, -1)).mean(3)
