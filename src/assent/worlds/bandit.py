"""The didactic bandit of arXiv:2404.14367 as tables: 100 actions, a reference with a mode, rewards on it or far from it.

The reference is the exact mass of tanh(Z), Z ~ Cauchy(-.7, .4), in 100 equal bins of [-1, 1] (the authors count 10,000
samples).  R1 peaks at action 70, where the reference is thin, R2 at 20, near its mode.  Contexts do not matter to either, so
a policy is one softmax table instead of the authors' network; Adam, rate .05, started at the reference.  In a round each of
C contexts draws 10 actions from the reference (the first round) or from the policy (the later ones), and full-batch steps
follow.  Losses are the registry's; runs [M] stand side by side and share nothing but the draws of a seed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

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
    """A round's data: reward and old log-probability of the drawn actions, [M, C, 10] each, beside the actions.

    told [M, C, 10]: rewards standardised by mean and deviation of all that the run has drawn so far.
    """

    action: Tensor
    reward: Tensor
    old: Tensor
    ref: Tensor
    told: Tensor

    def end(self, best: bool) -> Tensor:
        """The action [M, C] of highest or lowest reward in each context."""
        at = self.reward.argmax(-1) if best else self.reward.argmin(-1)
        return self.action.gather(-1, at[..., None])[..., 0]

    def spread(self) -> Tensor:
        return self.reward.amax(-1) - self.reward.amin(-1)


Loss = Callable[[Tensor, Batch], Tensor]
"""Mean loss [M] of log-probabilities [M, 100] on a round's data."""


def likelihood(logp: Tensor, action: Tensor) -> Tensor:
    """The registry's negative log-likelihood of actions [M, ...], shaped like them."""
    picked = logp.gather(-1, action.flatten(1))
    return parse("sft(per='sequence')")(Scores(picked.flatten())).view(action.shape)


def best_of_n(threshold: float = 0.0, worst: float = 0.0) -> Loss:
    """-log pi(best) + ``worst`` log pi(worst), over contexts whose rewards spread by ``threshold`` or more."""

    def loss(logp: Tensor, data: Batch) -> Tensor:
        each = likelihood(logp, data.end(True))
        if worst:
            each = each - worst * likelihood(logp, data.end(False))
        return mean(each, data.spread() >= threshold)

    return loss


def pairs(text: str, threshold: float = 0.0) -> Loss:
    """A pairwise objective over all pairs of a context whose rewards differ by ``threshold`` or more; ties: the second wins."""
    objective = parse(text)

    def loss(logp: Tensor, data: Batch) -> Tensor:
        pick = lambda side: data.action[..., side].flatten(1)  # noqa: E731
        r = [data.reward[..., side].flatten(1) for side in (FIRST, SECOND)]
        won = (r[0] > r[1]).to(logp)
        sides = [Scores(logp.gather(-1, pick(s)).flatten(), data.ref[pick(s)].flatten()) for s in (FIRST, SECOND)]
        each = objective(PairScores(*sides, target=won.flatten())).view(won.shape)
        return mean(each, (r[0] - r[1]).abs() >= threshold)

    return loss


def weighted(beta: float) -> Loss:
    """RWR: -exp(r / beta) log pi(a), over exp(1 / beta), which Adam does not see."""
    return lambda logp, data: (((data.reward - 1) / beta).exp() * likelihood(logp, data.action)).flatten(1).mean(-1)


def reinforce() -> Loss:
    """-r log pi(a), r standardised by what the run has seen."""
    return lambda logp, data: (data.told * likelihood(logp, data.action)).flatten(1).mean(-1)


def group(text: str) -> Loss:
    """A group objective; the group is a context's draws, its completions have one token."""
    objective = parse(text)

    def loss(logp: Tensor, data: Batch) -> Tensor:
        picked, old = logp.gather(-1, data.action.flatten(1)).flatten(), data.old.flatten()
        at, ref = torch.arange(len(picked)), data.ref[data.action.flatten()]
        tokens = Tokens(at, torch.zeros_like(at), picked, ref, columns={"old_logp": old})
        side = Scores(picked, ref, torch.ones_like(at), tokens)
        each = objective(GroupScores(side, at // DRAWS, data.reward.flatten()))
        return each.view(data.action.shape[:2]).mean(-1)

    return loss


def mean(each: Tensor, kept: Tensor) -> Tensor:
    """The mean [M] over what is kept; a run that keeps nothing stands still."""
    return (each * kept).sum(-1) / kept.sum(-1).clamp_min(1)


def fit(
    loss: Loss, rewards: Sequence[Tensor], seeds: Sequence[int], *, contexts: int, rounds: int = 1, steps: int = 200
) -> Tensor:
    """The policies [rewards, seeds, 100] after ``rounds`` of ``contexts`` x 10 draws and ``steps`` each."""
    reward = torch.stack(list(rewards)).repeat_interleave(len(seeds), 0)
    ref, draws = reference(), generators(seeds, 71)
    theta = ref.log().repeat(len(reward), 1).requires_grad_()
    optimiser, seen = torch.optim.Adam([theta], lr=RATE), reward.new_zeros(3, len(reward))
    for _ in range(rounds):
        with torch.no_grad():
            data = _drawn(theta.log_softmax(-1), ref, reward, draws, contexts, seen)
        for _ in range(steps):
            (theta.grad,) = torch.autograd.grad(loss(theta.log_softmax(-1), data).sum(), theta)
            optimiser.step()
    return theta.detach().softmax(-1).view(len(rewards), len(seeds), ACTIONS)


def _drawn(
    logp: Tensor, ref: Tensor, reward: Tensor, draws: Sequence[torch.Generator], contexts: int, seen: Tensor
) -> Batch:
    """A round's data; ``seen`` [3, M] keeps count, sum and sum of squares of the rewards."""
    noise = torch.stack([torch.rand(contexts * DRAWS, generator=g, dtype=torch.float64) for g in draws])
    noise = noise.repeat(len(logp) // len(draws), 1)
    action = torch.searchsorted(logp.exp().cumsum(-1), noise).clamp_max(ACTIONS - 1)
    r = reward.gather(-1, action)
    seen += torch.stack([torch.full_like(r[:, 0], r.shape[1]), r.sum(-1), (r**2).sum(-1)])
    centre = seen[1] / seen[0]
    deviation = (seen[2] / seen[0] - centre**2).clamp_min(1e-12).sqrt()
    told, shape = (r - centre[:, None]) / deviation[:, None], (len(logp), contexts, DRAWS)
    return Batch(action.view(shape), r.view(shape), logp.gather(-1, action).view(shape), ref.log(), told.view(shape))
