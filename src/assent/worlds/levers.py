"""Four levers of preference learning in one world: data, algorithm, reward model, prompts.

60 prompts (200 held out, 60 more without labels) of 20 responses, features phi in 10 dimensions, N(0, 1) x 1.5 / sqrt 10; the
true reward is w . phi + .5 tanh(2 phi_0) |phi_1|, w ~ N(0, I).  Policies are log-linear in the first 6 features, the reference
has .5 w + .5 N(0, I).  600 pairs are drawn from the reference and labelled with sigmoid(3 (R_a - R_b)), a share of labels
turned over.  `dpo(beta=0.3)` learns from them directly; `ppo()` climbs a linear reward model that `bradley_terry()` fits to the
same pairs, in exact expectation over responses.  Plain gradient descent, rate 1; the true reward on held-out prompts is read
at the first step with KL(policy || reference) of 1 nat or more there, or at the end.  R worlds a seed stand side by side.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from assent.objectives import parse
from assent.scores import GroupScores, PairScores, Scores, Tokens
from assent.worlds.stacked import generators

PROMPTS, HELD_OUT, RESPONSES, FEATURES, SEEN, PAIRS = 60, 200, 20, 10, 6, 600
WORLDS, BETA, READ_AT = 4, 0.3, 1.0

Slope = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class World:
    """M worlds: phi [M, 120, 20, 10] with the extra prompts last, held [M, 200, 20, 10], w [M, 10], reference [M, 6], pairs.

    pick [M, 600, 2]: flat numbers of the two responses.  p [M, 600]: P(first is better).  toss, turn [M, 600]: uniform.
    """

    phi: Tensor
    held: Tensor
    w: Tensor
    reference: Tensor
    pick: Tensor
    p: Tensor
    toss: Tensor
    turn: Tensor

    def labels(self, flips: float) -> Tensor:
        """1 where the first is called better [M, 600]; a share ``flips`` of labels is turned over."""
        return ((self.toss < self.p) ^ (self.turn < flips)).double()

    def sides(self, width: int) -> tuple[Tensor, Tensor]:
        """The first ``width`` features of both responses [M, 600, width]."""
        flat = self.phi[..., :width].flatten(1, 2)
        return tuple(flat.gather(1, self.pick[..., k, None].expand(-1, -1, width)) for k in (0, 1))


def true_reward(phi: Tensor, w: Tensor) -> Tensor:
    """R [M, X, Y]."""
    return torch.einsum("mxyd,md->mxy", phi, w) + 0.5 * (2 * phi[..., 0]).tanh() * phi[..., 1].abs()


def logp(phi: Tensor, theta: Tensor) -> Tensor:
    """Log-probabilities [M, X, Y] of the policies theta [M, 6]."""
    return torch.einsum("mxyd,md->mxy", phi[..., :SEEN], theta).log_softmax(-1)


def draw(seeds: Sequence[int]) -> World:
    """WORLDS worlds of each seed, seed by seed."""
    runs = [_one(g) for g in generators(seeds, 75) for _ in range(WORLDS)]
    return World(*(torch.stack(parts) for parts in zip(*runs, strict=True)))


def _one(g: torch.Generator) -> tuple[Tensor, ...]:
    normal = lambda *shape: torch.randn(*shape, generator=g, dtype=torch.float64)  # noqa: E731
    uniform = lambda *shape: torch.rand(*shape, generator=g, dtype=torch.float64)  # noqa: E731
    phi, held = (normal(x, RESPONSES, FEATURES) * 1.5 / FEATURES**0.5 for x in (2 * PROMPTS, HELD_OUT))
    w = normal(FEATURES)
    reference = 0.5 * w[:SEEN] + 0.5 * normal(SEEN)
    prompt = torch.randint(PROMPTS, (PAIRS,), generator=g)
    law = logp(phi[None, :PROMPTS], reference[None])[0]
    keys = law[prompt] - (-uniform(PAIRS, RESPONSES).clamp_min(1e-300).log()).log()
    pick = prompt[:, None] * RESPONSES + keys.topk(2, -1).indices  # two different responses
    pick = torch.where(uniform(PAIRS, 1) < 0.5, pick, pick.flip(1))
    reward = true_reward(phi[None], w[None])[0].flatten()
    return (
        phi,
        held,
        w,
        reference,
        pick,
        torch.sigmoid(3 * (reward[pick[:, 0]] - reward[pick[:, 1]])),
        *uniform(2, PAIRS),
    )


def dpo(world: World, flips: float, text: str = f"dpo(beta={BETA})") -> Slope:
    """The slope of the mean loss over pairs in theta [M, 6]; a prompt's normaliser cancels in a pair."""
    objective, label = parse(text), world.labels(flips)
    a, b = world.sides(SEEN)
    score = lambda x, t: torch.einsum("mnd,md->mn", x, t).flatten()  # noqa: E731

    def slope(theta: Tensor) -> Tensor:
        theta = theta.detach().requires_grad_()
        sides = (Scores(score(x, theta), score(x, world.reference)) for x in (a, b))
        loss = objective(PairScores(*sides, target=label.flatten())).sum() / PAIRS
        return torch.autograd.grad(loss, theta)[0]

    return slope


def reward_model(world: World, flips: float, width: int, steps: int = 400) -> Tensor:
    """Weights [M, width] of the linear reward model of the first ``width`` features; gradient descent, rate 4."""
    objective, label = parse("bradley_terry()"), world.labels(flips).flatten()
    sides, weights = world.sides(width), world.w.new_zeros(len(world.w), width)
    nought = torch.zeros_like(label)
    for _ in range(steps):
        weights.requires_grad_(True)
        made = (Scores(nought, columns={"reward": torch.einsum("mnd,md->mn", x, weights).flatten()}) for x in sides)
        loss = objective(PairScores(*made, target=label)).sum() / PAIRS
        weights = weights.detach() - 4.0 * torch.autograd.grad(loss, weights)[0]
    return weights


def ppo(world: World, weights: Tensor, prompts: int = PROMPTS) -> Slope:
    """The slope of `ppo()` in theta, exact: every response once, as a completion of one token, counted with its probability.

    Values are 0 and the whole KL is in the reward, so this is the slope of -(E[reward model] - BETA KL).
    """
    objective = parse(f"ppo(vf=0.0, beta={BETA}, whiten=False, old=None, old_value=None, value='nought')")
    phi = world.phi[:, :prompts]
    score = torch.einsum("mxyd,md->mxy", phi[..., : weights.shape[1]], weights).flatten()
    ref, at = logp(phi, world.reference).flatten(), torch.arange(score.numel())

    def slope(theta: Tensor) -> Tensor:
        theta = theta.detach().requires_grad_()
        own = logp(phi, theta).flatten()
        tokens = Tokens(at, torch.zeros_like(at), own, ref, columns={"nought": torch.zeros_like(ref)})
        rows = GroupScores(Scores(own, ref, torch.ones_like(at), tokens), at, score, own.detach().exp() / prompts)
        return torch.autograd.grad((rows.weight * objective(rows)).sum(), theta)[0]

    return slope


def fit(world: World, slope: Slope, steps: int = 400) -> Tensor:
    """The true reward [M] on held-out prompts where it is read."""
    theta, read = world.reference, world.reference.clone()
    before = logp(world.held, world.reference)
    open_ = torch.ones(len(theta), dtype=torch.bool)
    for _ in range(steps):
        theta = theta - slope(theta)
        read = torch.where(open_[:, None], theta, read)
        now = logp(world.held, theta)
        open_ = open_ & ((now.exp() * (now - before)).sum(-1).mean(-1) < READ_AT)
        if not open_.any():
            break
    return value(world, read)


def value(world: World, theta: Tensor) -> Tensor:
    """E[R] [M] on held-out prompts."""
    return (logp(world.held, theta).exp() * true_reward(world.held, world.w)).sum(-1).mean(-1)


def by_seed(values: Tensor) -> Tensor:
    """The mean over the worlds of each seed."""
    return values.view(-1, WORLDS).mean(-1)
