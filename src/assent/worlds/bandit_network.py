"""The didactic bandit of arXiv:2404.14367 with the authors' network: contexts that the reward ignores and the policy reads.

Contexts are uniform on [0, 1]^100.  The policy: Linear 100-50, LayerNorm, ReLU, Linear 50-256, ReLU, Linear 256-256, ReLU,
Linear 256-100, softmax; Xavier-uniform weights of gain .01, biases 0, single precision.  Before a run 100 steps of Adam, rate
.01, bring KL(policy || reference) down on its training contexts.  Those stay the same in all rounds; rewards are read on 100
others.  Draws, losses and `learn` are those of the table (`bandit`); networks [M] stand side by side and share nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from assent.worlds.bandit import DRAWS, Loss, drawn_from, learn, reference
from assent.worlds.stacked import generators

SIZES = ((100, 50), (50, 256), (256, 256), (256, 100))
GAIN, WARM_UP, WARM_UP_RATE, HELD_OUT = 0.01, 100, 0.01, 100


def initial(draws: Sequence[torch.Generator]) -> list[Tensor]:
    """Weights [M, in, out] and biases [M, 1, out] of the four layers, then scale and shift [M, 1, 50] of the norm."""
    weights: list[Tensor] = []
    for into, out in SIZES:
        bound = GAIN * (6 / (into + out)) ** 0.5
        weights += [
            torch.stack([(2 * torch.rand(into, out, generator=g) - 1) * bound for g in draws]),
            torch.zeros(len(draws), 1, out),
        ]
    width = SIZES[0][1]
    return [*weights, torch.ones(len(draws), 1, width), torch.zeros(len(draws), 1, width)]


def log_policy(weights: Sequence[Tensor], contexts: Tensor) -> Tensor:
    """Log-probabilities [M, C, 100] in contexts [M, C, 100], double precision."""
    *layers, scale, shift = weights
    x = torch.baddbmm(layers[1], contexts, layers[0])
    x = F.layer_norm(x, x.shape[-1:]) * scale + shift
    for weight, bias in zip(layers[2::2], layers[3::2], strict=True):
        x = torch.baddbmm(bias, x.relu(), weight)
    return x.double().log_softmax(-1)


class Network:
    """One network a run, for ``rewards`` x ``seeds`` runs; draws are actions [M, C, 10].

    A seed's contexts and its network before training are the same under every reward.
    """

    def __init__(self, rewards: Sequence[Tensor], seeds: Sequence[int], contexts: int) -> None:
        self.draws, self.start, copies = generators(seeds, 78), reference().log(), len(rewards)
        self.rewards = torch.stack(list(rewards)).repeat_interleave(len(seeds), 0)
        some = lambda n: torch.stack([torch.rand(n, SIZES[0][0], generator=g) for g in self.draws])  # noqa: E731
        seen, held = some(contexts), some(HELD_OUT)
        warm = [w.requires_grad_() for w in initial(self.draws)]
        optimiser = torch.optim.Adam(warm, lr=WARM_UP_RATE, fused=True)
        for _ in range(WARM_UP):
            logp = log_policy(warm, seen)
            optimiser.zero_grad()
            (logp.exp() * (logp - self.start)).sum(-1).mean(-1).sum().backward()
            optimiser.step()
        self.contexts, self.held = (x.repeat(copies, 1, 1) for x in (seen, held))
        self.weights = [w.detach().repeat(copies, 1, 1).requires_grad_() for w in warm]

    def sample(self, first: bool) -> Tensor:
        count = self.contexts.shape[1]
        noise = torch.stack([torch.rand(count, DRAWS, generator=g, dtype=torch.float64) for g in self.draws])
        noise = noise.repeat(len(self.rewards) // len(self.draws), 1, 1)
        logp = self.start.expand(*noise.shape[:2], -1) if first else log_policy(self.weights, self.contexts)
        return drawn_from(logp.exp(), noise)

    def logp(self, drawn: Tensor) -> Tensor:
        return log_policy(self.weights, self.contexts).gather(-1, drawn)[..., None]

    def ref_logp(self, drawn: Tensor) -> Tensor:
        return self.start[drawn][..., None]

    def reward(self, drawn: Tensor) -> Tensor:
        return self.rewards.gather(-1, drawn.flatten(1)).view(drawn.shape)

    @torch.no_grad()
    def expected(self) -> Tensor:
        """E[r] [M] on held-out contexts."""
        return torch.einsum("mca,ma->mc", log_policy(self.weights, self.held).exp(), self.rewards).mean(-1)


def fit(
    loss: Loss,
    rewards: Sequence[Tensor],
    seeds: Sequence[int],
    *,
    contexts: int,
    rate: float,
    rounds: int = 1,
    steps: int = 200,
) -> Tensor:
    """Expected rewards [rewards, seeds] on held-out contexts after ``rounds`` of ``contexts`` x 10 draws and ``steps`` each."""
    policy = Network(rewards, seeds, contexts)
    learn(policy, loss, rounds=rounds, steps=steps, rate=rate)
    return policy.expected().view(len(rewards), len(seeds))
