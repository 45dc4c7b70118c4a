"""The didactic bandit of arXiv:2404.14367 as tables: 100 actions, a reference with a mode, rewards on it or far from it.

The reference is the exact mass of tanh(Z), Z ~ Cauchy(-.7, .4), in 100 equal bins of [-1, 1] (the authors count 10,000
samples).  R1 peaks at action 70, where the reference is thin, R2 at 20, near its mode.  Contexts do not matter to either, so
a policy is one softmax table (the authors' network: `bandit_network`); Adam, rate .05, started at the reference.  In a round
each of C contexts draws 10 actions from the reference (the first round) or from the policy (the later ones), and full-batch
steps follow.  Losses are the registry's; runs [M] stand side by side and share nothing but the draws of a seed.  `learn` and
the losses serve the sequence and the continuous version too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from assent.objectives import parse
from assent.scores import GroupScores, PairScores, Scores, Tokens
from assent.worlds.stacked import generators

ACTIONS, DRAWS, RATE = 100, 10, 0.05
FIRST, SECOND = torch.triu_indices(DRAWS, DRAWS, 1)


def reference() -> Tensor:
    """Exact masses [100] of the bins."""
    edges = torch.linspace(-1, 1, ACTIONS + 1, dtype=torch.float64)
    return (0.5 + ((edges.atanh() + 0.7) / 0.4).atan() / math.pi).diff()


def bump(peak: int, width: float = 10.0) -> Tensor:
    """Rewards exp(-((a - peak) / width)^2) [100]: R1 at 70, R2 at 20."""
    return (-(((torch.arange(ACTIONS, dtype=torch.float64) - peak) / width) ** 2)).exp()


@dataclass
class Batch:
    """A round's data of M runs: the rewards [M, C, 10] of what each of C contexts has drawn.

    old, ref [M, C, 10, T]: log-probability of each token under who drew it and under the reference, nats; an action is one.
    told [M, C, 10]: rewards standardised by mean and deviation of all that the run has drawn so far.
    """

    reward: Tensor
    old: Tensor
    ref: Tensor
    told: Tensor

    def spread(self) -> Tensor:
        return self.reward.amax(-1) - self.reward.amin(-1)


Loss = Callable[[Tensor, Batch], Tensor]
"""Mean loss [M] of the log-probabilities [M, C, 10, T] that the policy gives a round's data."""


def likelihood(logp: Tensor) -> Tensor:
    """The registry's negative log-likelihood of draws [M, C, 10, T], summed over tokens [M, C, 10]."""
    total = logp.sum(-1)
    return parse("sft(per='sequence')")(Scores(total.flatten())).view(total.shape)


def best_of_n(threshold: float = 0.0, worst: float = 0.0) -> Loss:
    """-log pi(best) + ``worst`` log pi(worst), over contexts whose rewards spread by ``threshold`` or more."""

    def loss(logp: Tensor, data: Batch) -> Tensor:
        each = likelihood(logp)
        best, last = (
            each.gather(-1, end[..., None])[..., 0] for end in (data.reward.argmax(-1), data.reward.argmin(-1))
        )
        return mean(best - worst * last if worst else best, data.spread() >= threshold)

    return loss


def pairs(text: str, threshold: float = 0.0) -> Loss:
    """A pairwise objective over all pairs of a context whose rewards differ by ``threshold`` or more; ties: the second wins."""
    objective = parse(text)

    def loss(logp: Tensor, data: Batch) -> Tensor:
        own, ref = logp.sum(-1), data.ref.sum(-1)
        r = [data.reward[..., side].flatten(1) for side in (FIRST, SECOND)]
        won = (r[0] > r[1]).to(logp)
        sides = [Scores(own[..., side].flatten(), ref[..., side].flatten()) for side in (FIRST, SECOND)]
        each = objective(PairScores(*sides, target=won.flatten())).view(won.shape)
        return mean(each, (r[0] - r[1]).abs() >= threshold)

    return loss


def weighted(beta: float) -> Loss:
    """RWR: -exp(r / beta) log pi(a), over exp(1 / beta), which Adam does not see."""
    return lambda logp, data: (((data.reward - 1) / beta).exp() * likelihood(logp)).flatten(1).mean(-1)


def reinforce() -> Loss:
    """-r log pi(a), r standardised by what the run has seen."""
    return lambda logp, data: (data.told * likelihood(logp)).flatten(1).mean(-1)


def group(text: str) -> Loss:
    """A group objective; the group is a context's draws.  Token columns: "old_logp", and "nought", a value of 0 for `ppo()`."""
    objective = parse(text)

    def loss(logp: Tensor, data: Batch) -> Tensor:
        draws, longest = logp.shape[:3].numel(), logp.shape[3]
        row, index = torch.arange(draws).repeat_interleave(longest), torch.arange(longest).repeat(draws)
        columns = {"old_logp": data.old.flatten(), "nought": torch.zeros(len(row), dtype=logp.dtype)}
        tokens = Tokens(row, index, logp.flatten(), data.ref.flatten(), columns=columns)
        length = torch.full((draws,), longest)
        side = Scores(logp.sum(-1).flatten(), data.ref.sum(-1).flatten(), length, tokens)
        each = objective(GroupScores(side, torch.arange(draws) // DRAWS, data.reward.flatten()))
        return each.view(logp.shape[:2]).mean(-1)

    return loss


def mean(each: Tensor, kept: Tensor) -> Tensor:
    """The mean [M] over what is kept, [M, ...]; a run that keeps nothing stands still."""
    return (each * kept).flatten(1).sum(-1) / kept.flatten(1).sum(-1).clamp_min(1)


class Policy(Protocol):
    """M policies side by side, and the world that they act in; what ``sample`` returns is theirs to read."""

    weights: Sequence[Tensor]

    def sample(self, first: bool) -> Tensor:
        """A round's draws: of the reference in the first round, of the policy afterwards."""

    def logp(self, drawn: Tensor) -> Tensor:
        """log pi of every token, nats [M, C, 10, T]."""

    def ref_logp(self, drawn: Tensor) -> Tensor:
        """The same under the reference."""

    def reward(self, drawn: Tensor) -> Tensor:
        """[M, C, 10]."""


def learn(policy: Policy, loss: Loss, *, rounds: int, steps: int, rate: float) -> None:
    """``rounds`` of draws, ``steps`` of Adam after each."""
    optimiser, seen = torch.optim.Adam(policy.weights, lr=rate, fused=True), None
    for number in range(rounds):
        with torch.no_grad():
            drawn = policy.sample(number == 0)
            reward = policy.reward(drawn)
            told, seen = standardised(reward, seen)
            data = Batch(reward, policy.logp(drawn), policy.ref_logp(drawn), told)
        for _ in range(steps):
            slopes = torch.autograd.grad(loss(policy.logp(drawn), data).sum(), policy.weights)
            for weight, slope in zip(policy.weights, slopes, strict=True):
                weight.grad = slope
            optimiser.step()


def standardised(reward: Tensor, seen: Tensor | None) -> tuple[Tensor, Tensor]:
    """Rewards less their mean, over their deviation, both of all so far; and count, sum and sum of squares of those [3, M]."""
    r = reward.flatten(1)
    now = torch.stack([torch.full_like(r[:, 0], r.shape[1]), r.sum(-1), (r**2).sum(-1)])
    seen = now if seen is None else seen + now
    centre = seen[1] / seen[0]
    deviation = (seen[2] / seen[0] - centre**2).clamp_min(1e-12).sqrt()
    return ((r - centre[:, None]) / deviation[:, None]).view(reward.shape), seen


class Table:
    """One softmax table [M, 100] a run, for ``rewards`` x ``seeds`` runs; draws are actions [M, C, 10]."""

    def __init__(self, rewards: Sequence[Tensor], seeds: Sequence[int], contexts: int) -> None:
        self.rewards = torch.stack(list(rewards)).repeat_interleave(len(seeds), 0)
        self.start, self.draws, self.contexts = reference().log(), generators(seeds, 71), contexts
        self.theta = self.start.repeat(len(self.rewards), 1).requires_grad_()
        self.weights = [self.theta]

    def sample(self, first: bool) -> Tensor:
        noise = torch.stack([torch.rand(self.contexts * DRAWS, generator=g, dtype=torch.float64) for g in self.draws])
        noise = noise.repeat(len(self.theta) // len(self.draws), 1)
        return drawn_from(self.theta.log_softmax(-1).exp(), noise).view(-1, self.contexts, DRAWS)

    def logp(self, drawn: Tensor) -> Tensor:
        return self.theta.log_softmax(-1).gather(-1, drawn.flatten(1)).view(*drawn.shape, 1)

    def ref_logp(self, drawn: Tensor) -> Tensor:
        return self.start[drawn][..., None]

    def reward(self, drawn: Tensor) -> Tensor:
        return self.rewards.gather(-1, drawn.flatten(1)).view(drawn.shape)


def drawn_from(p: Tensor, noise: Tensor) -> Tensor:
    """Actions from probabilities [..., 100] and uniform noise [..., n]."""
    return torch.searchsorted(p.cumsum(-1), noise).clamp_max(ACTIONS - 1)


def fit(
    loss: Loss, rewards: Sequence[Tensor], seeds: Sequence[int], *, contexts: int, rounds: int = 1, steps: int = 200
) -> Tensor:
    """The policies [rewards, seeds, 100] after ``rounds`` of ``contexts`` x 10 draws and ``steps`` each."""
    policy = Table(rewards, seeds, contexts)
    learn(policy, loss, rounds=rounds, steps=steps, rate=RATE)
    return policy.theta.detach().softmax(-1).view(len(rewards), len(seeds), ACTIONS)
