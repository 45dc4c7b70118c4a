"""Rounds of training on logs of what displeased: 100 prompts of 40 responses, one shared parameter of a log-linear policy.

Features F ~ N(0, I) in 10 dimensions, utility u = 1.5 F_0 + .5 N(0, 1), policies base x exp(F . theta) with logits of base
.3 N(0, 1).  Logs come from base: for every prompt a response below its median utility, for a quarter of the prompts also one of
its best quarter.  A round draws from the policy that it starts with, which is its reference, and makes 60 steps of plain
gradient descent at rate 20/60 on the mean over its pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from assent.objectives import Objective
from assent.scores import PairScores, Scores
from assent.worlds.stacked import generators

PROMPTS, RESPONSES, FEATURES, STEPS = 100, 40, 10, 60


@dataclass(frozen=True)
class World:
    """phi [M, X, Y, d]; utility, base [M, X, Y]; displeased, pleased, aside [M, X] int: logged; aside: at random.

    known [M, X] bool: prompts that have a logged response which pleased.
    """

    seeds: tuple[int, ...]
    phi: Tensor
    utility: Tensor
    base: Tensor
    displeased: Tensor
    pleased: Tensor
    aside: Tensor
    known: Tensor

    def logp(self, theta: Tensor) -> Tensor:
        return (self.base + torch.einsum("mxyd,md->mxy", self.phi, theta)).log_softmax(-1)


@dataclass(frozen=True)
class Arm:
    """How pairs are made.

    logged: "rejected" against a sample, "chosen" against a sample, "none": two samples, judged; "aside": a random rejected.
    noise: standard deviation of the judge's error in the gap of utility.  guided: share of sampled chosen sides that are the
    better of two draws.
    """

    logged: str = "rejected"
    noise: float = 0.0
    guided: float = 0.0


@dataclass(frozen=True)
class Path:
    """utility, effective number of responses [M, rounds + 1] after 0, 1, ... rounds; norm [M, rounds] of each first step."""

    utility: Tensor
    effective: Tensor
    norm: Tensor


def draw(seeds: Sequence[int]) -> World:
    runs = []
    for g in generators(seeds, 68):
        normal = lambda *shape, g=g: torch.randn(*shape, generator=g, dtype=torch.float64)  # noqa: E731
        phi, base = normal(PROMPTS, RESPONSES, FEATURES), 0.3 * normal(PROMPTS, RESPONSES)
        utility = 1.5 * phi[..., 0] + 0.5 * normal(PROMPTS, RESPONSES)
        law, rank = base.softmax(-1), utility.argsort(-1).argsort(-1)
        pick = lambda p, g=g: torch.multinomial(p, 1, generator=g).squeeze(-1)  # noqa: E731
        low, high = (pick(law * keep) for keep in (rank < RESPONSES // 2, rank >= 3 * RESPONSES // 4))
        known = torch.rand(PROMPTS, generator=g).argsort() < PROMPTS // 4
        runs.append((phi, utility, base, low, high, pick(law), known))
    return World(tuple(seeds), *(torch.stack(parts) for parts in zip(*runs, strict=True)))


def follow(objective: Objective, world: World, arm: Arm, rounds: int = 6) -> Path:
    """Train for some rounds from theta = 0."""
    theta = world.phi.new_zeros(len(world.seeds), FEATURES)
    draws, norms, states = generators(world.seeds, 69), [], [theta]
    for _ in range(rounds):
        chosen, rejected, kept = _pairs(world, arm, world.logp(theta).exp(), draws)
        index = lambda k: k[..., None, None].expand(*k.shape, 1, FEATURES)  # noqa: E731
        gap = (world.phi.gather(2, index(chosen)) - world.phi.gather(2, index(rejected))).squeeze(2)
        start, nought = theta, gap.new_zeros(gap[..., 0].numel())
        weight = kept / kept.sum(1, keepdim=True)
        for step in range(STEPS):
            theta = theta.detach().requires_grad_(True)
            ratio = torch.einsum("mxd,md->mx", gap, theta - start)  # the normaliser of the softmax cancels in a pair
            loss = objective(PairScores(Scores(ratio.flatten(), nought), Scores(nought, nought)))
            (slope,) = torch.autograd.grad((weight.flatten() * loss).sum(), theta)
            if step == 0:
                norms.append(slope.norm(dim=-1))
            theta = (theta - 20 / STEPS * slope).detach()
        states.append(theta)
    logp = torch.stack([world.logp(t) for t in states], 1)
    p = logp.exp()
    utility = (p * world.utility[:, None]).sum(-1).mean(-1)
    return Path(utility, (-(p * logp).sum(-1)).exp().mean(-1), torch.stack(norms, 1))


def _pairs(world: World, arm: Arm, law: Tensor, draws: Sequence[torch.Generator]) -> tuple[Tensor, Tensor, Tensor]:
    """Chosen and rejected responses [M, X], and which pairs count (1 or 0)."""
    two = torch.stack([torch.multinomial(p, 2, True, generator=g) for p, g in zip(law, draws, strict=True)])
    own, other = two.unbind(-1)
    own_u, other_u = (world.utility.gather(-1, k[..., None]).squeeze(-1) for k in (own, other))
    noise = torch.stack([torch.randn(PROMPTS, generator=g, dtype=torch.float64) for g in draws])
    toss = torch.stack([torch.rand(PROMPTS, generator=g, dtype=torch.float64) for g in draws])
    every = torch.ones_like(own_u)
    if arm.logged == "chosen":
        return world.pleased, own, world.known.double()
    if arm.logged == "none":
        better = own_u - other_u + arm.noise * noise > 0
        return torch.where(better, own, other), torch.where(better, other, own), every
    improved = (toss < arm.guided) & (other_u > own_u)
    rejected = world.displeased if arm.logged == "rejected" else world.aside
    return torch.where(improved, other, own), rejected, every
