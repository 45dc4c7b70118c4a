"""One plain torch loop for the small worlds: M independent runs side by side, any pairwise objective.

Runs share nothing: every run has its own data, parameters, shuffling and annotators (run m's annotator k has the number
m K + k), the loss is summed over runs and Adam works entry by entry, so a run's path does not depend on its neighbours.
The objective is the one that users train with; it sees ordinary `PairScores` and keeps its own state.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from assent.objectives import Objective, RunInfo
from assent.scores import Labels, PairScores, Scores


class World(Protocol):
    """M runs of N judged pairs, each stored in the order that its annotator preferred."""

    seeds: tuple[int, ...]
    annotator: Tensor  # [M, N] int, 0 .. K-1
    right: Tensor  # [M, N] bool: the stored order is the latent one
    reliability: Tensor  # [M, K] P(right | annotator)

    def start(self) -> Tensor:
        """The parameters of the untrained policy, [M, ...]."""

    def logp(self, theta: Tensor, rows: Tensor) -> tuple[Tensor, Tensor, float]:
        """Log-probabilities of chosen and rejected [M, B] at ``rows`` [M, B], and the reference's constant; nats."""


@dataclass(frozen=True)
class Fit:
    """What training left: parameters [M, ...], reliabilities [M, K] (None without state), and those after each epoch."""

    theta: Tensor
    eta: Tensor | None
    path: tuple[Tensor, ...]


def pair_scores(world: World, theta: Tensor, rows: Tensor | None = None) -> PairScores:
    """The scores of ``rows`` [M, B] (all pairs when None) of all runs as one batch of M B pairs with one label each."""
    if rows is None:
        rows = torch.arange(world.annotator.shape[1]).expand_as(world.annotator)
    chosen, rejected, reference = world.logp(theta, rows)
    runs, annotators = world.reliability.shape
    annotator = world.annotator.gather(1, rows) + annotators * torch.arange(runs)[:, None]
    ref_logp = torch.full_like(chosen.detach().reshape(-1), reference)
    labels = Labels(torch.arange(rows.numel()), annotator.reshape(-1), torch.ones_like(ref_logp))
    return PairScores(
        chosen=Scores(chosen.reshape(-1), ref_logp), rejected=Scores(rejected.reshape(-1), ref_logp), labels=labels
    )


def initial_state(objective: Objective, world: World, start: Tensor | None = None) -> dict[str, Tensor]:
    """The objective's state for all runs in float64; ``start`` [M, K] replaces the starting reliabilities."""
    runs, annotators = world.reliability.shape
    names = tuple(f"{run}/{k}" for run in range(runs) for k in range(annotators))
    state = {name: value.double() for name, value in objective.init(RunInfo(annotators=names)).items()}
    if start is not None:
        state["eta"] = start.double().reshape(-1).clone()
    return state


def fit(
    objective: Objective,
    world: World,
    *,
    epochs: int,
    batch: int = 64,
    lr: float = 0.02,
    l2: float = 0.0,
    theta: Tensor | None = None,
    start: Tensor | None = None,
    every_epoch: Callable[[int, Tensor], None] | None = None,
) -> Fit:
    """Train all runs with Adam, the learning rate falling linearly to 0; lr = 0 moves the objective's state alone.

    The loss is the batch mean plus l2/2 |theta|^2.  The state is updated once a step from the scores before the step.
    """
    theta = (world.start() if theta is None else theta).detach().clone().requires_grad_(True)
    state = initial_state(objective, world, start)
    optimiser = torch.optim.Adam([theta], lr=lr)
    shuffles = [torch.Generator().manual_seed(7919 * seed + 1) for seed in world.seeds]
    pairs, path, step = world.annotator.shape[1], [], 0
    steps = epochs * -(-pairs // batch)
    for epoch in range(epochs):
        order = torch.stack([torch.randperm(pairs, generator=shuffle) for shuffle in shuffles])
        for rows in order.split(batch, dim=1):
            scores = pair_scores(world, theta, rows)
            if lr:
                loss = objective(scores, state).sum() / rows.shape[1] + l2 / 2 * theta.square().sum()
                optimiser.param_groups[0]["lr"] = lr * (1 - step / steps)
                (theta.grad,) = torch.autograd.grad(loss, theta)
            if state:
                with torch.no_grad():
                    state = objective.update(state, objective.sums(scores, state))
            if lr:
                optimiser.step()
            step += 1
        if "eta" in state:
            path.append(state["eta"].reshape(world.reliability.shape).clone())
        if every_epoch is not None:
            every_epoch(epoch, theta.detach())
    return Fit(theta.detach(), path[-1] if path else None, tuple(path))


def posterior(objective: Objective, world: World, found: Fit) -> Tensor:
    """The objective's posterior that each stored order is right, [M, N]."""
    scores = pair_scores(world, found.theta)
    state = initial_state(objective, world, found.eta)
    with torch.no_grad():
        return objective.posterior(scores, state).reshape(world.annotator.shape)


def generators(seeds: Sequence[int], salt: int) -> list[torch.Generator]:
    """One generator a run; ``salt`` keeps a world's draws apart from its shuffling and from other worlds'."""
    return [torch.Generator().manual_seed(7919 * seed + salt) for seed in seeds]
