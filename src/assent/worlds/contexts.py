"""Texts of a fixed length from a policy that sees a small context only: tables of next-token logits, token by token.

A policy is a table theta [M, X, V]: M runs, X contexts, V tokens; the reference is uniform.  `places` makes the position
the context (all texts are then independent draws per place), `neighbours` the token before (the last row is the start).
Pairs are two uniform texts labelled by Bradley-Terry on a reward that adds up over tokens: gain [X, V].
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from assent.scores import PairScores, Scores, Tokens
from assent.worlds.stacked import generators


@dataclass(frozen=True)
class Pairs:
    """M runs of N pairs of T tokens each.

    context, token: of the chosen and of the rejected texts, [M, N, T] int each.  gain [X, V]: reward of each token.
    """

    context: tuple[Tensor, Tensor]
    token: tuple[Tensor, Tensor]
    gain: Tensor

    def start(self) -> Tensor:
        """The uniform reference: logits 0, [M, X, V]."""
        return torch.zeros(len(self.token[0]), *self.gain.shape, dtype=torch.float64)

    def cells(self) -> tuple[Tensor, Tensor]:
        """The place of every token's entry in a flat [M, X, V] table, [M N T] for either side."""
        contexts, vocabulary = self.gain.shape
        run = torch.arange(len(self.token[0]))[:, None, None] * contexts
        return tuple(
            ((run + c) * vocabulary + t).flatten() for c, t in zip(self.context, self.token, strict=True)
        )  # fmt: skip


def places(texts: Tensor) -> Tensor:
    """Contexts [..., T] of texts [..., T] whose context is the position."""
    return torch.arange(texts.shape[-1]).expand_as(texts)


def neighbours(vocabulary: int) -> Callable[[Tensor], Tensor]:
    """The rule whose context is the token before, ``vocabulary`` itself at the start."""

    def rule(texts: Tensor) -> Tensor:
        return torch.cat([torch.full_like(texts[..., :1], vocabulary), texts[..., :-1]], -1)

    return rule


def draw(
    seeds: Sequence[int], gain: Tensor, context: Callable[[Tensor], Tensor], *, pairs: int, length: int, salt: int
) -> Pairs:
    """One run a seed: ``pairs`` pairs of uniform texts, the preferred one first."""
    runs = []
    for g in generators(seeds, salt):
        texts = torch.randint(gain.shape[1], (2, pairs, length), generator=g)
        reward = gain[context(texts), texts].sum(2)
        first = torch.rand(pairs, generator=g, dtype=torch.float64) < torch.sigmoid(reward[0] - reward[1])
        runs.append(torch.where(first[None, :, None], texts, texts.flip(0)))
    chosen, rejected = torch.stack(runs, 1)
    return Pairs((context(chosen), context(rejected)), (chosen, rejected), gain)


def scores(
    theta: Tensor, world: Pairs, columns: Mapping[str, Tensor] | None = None, mask: Tensor | None = None
) -> PairScores:
    """All pairs of all runs as one batch with every token's log-probability and KL(reference || policy), nats.

    columns: further tables [M, X, V] or [M, X, 1], a token column each.  mask [M, X, 1]: the column "mask".
    """
    runs, _, vocabulary = theta.shape
    logp = theta.log_softmax(2)
    kl = (-math.log(vocabulary) - logp).mean(2, keepdim=True)
    tables = {"logp": logp, "kl": kl} | dict(columns or {})
    length = world.token[0].shape[2]
    count = runs * world.token[0].shape[1]
    row, index = torch.arange(count).repeat_interleave(length), torch.arange(length).repeat(count)
    uniform = torch.full((count * length,), -math.log(vocabulary), dtype=theta.dtype)
    sides = []
    for cell in world.cells():
        picked = {name: table.expand_as(logp).flatten()[cell] for name, table in tables.items()}
        own, divergence = picked.pop("logp"), picked.pop("kl")
        named = None if mask is None else mask.expand_as(logp).flatten()[cell]
        tokens = Tokens(row, index, own, uniform, kl_ref=divergence, mask=named, columns=picked)
        total = own.reshape(count, length).sum(1)
        sides.append(Scores(total, uniform[:count] * length, total.new_full((count,), length), tokens))
    return PairScores(*sides)


def train(
    loss: Callable[..., Tensor], start: Sequence[Tensor], *, steps: int, lr: float
) -> tuple[list[Tensor], Tensor]:
    """Parameters after ``steps`` of Adam on the sum over runs of ``loss`` [M], and its values before each, [steps, M]."""
    parameters = [x.clone().requires_grad_(True) for x in start]
    adam, path = torch.optim.Adam(parameters, lr=lr), []
    for _ in range(steps):
        values = loss(*parameters)
        path.append(values.detach())
        for parameter, gradient in zip(parameters, torch.autograd.grad(values.sum(), parameters), strict=True):
            parameter.grad = gradient
        adam.step()
    return [x.detach() for x in parameters], torch.stack(path)


def mean_loss(objective: Objective, found: PairScores, runs: int) -> Tensor:
    """The mean loss of each run [M]."""
    return objective(found).reshape(runs, -1).mean(1)


def outcome(theta: Tensor, gain: Tensor, length: int) -> tuple[Tensor, Tensor]:
    """E[reward] and KL(policy || uniform) in nats per sequence, [M] each, exact.

    The context is the position where theta has ``length`` rows, else the token before.
    """
    logp = theta.log_softmax(2)
    p, vocabulary = logp.exp(), theta.shape[2]
    reward, kl = (p * gain).sum(2), (p * (logp + math.log(vocabulary))).sum(2)
    if theta.shape[1] == length:
        return reward.sum(1), kl.sum(1)
    at = torch.zeros_like(reward)
    at[:, vocabulary] = 1.0
    visits = torch.zeros_like(at)
    for _ in range(length):
        visits = visits + at
        at = torch.cat([torch.einsum("mx,mxv->mv", at, p), torch.zeros_like(at[:, :1])], 1)
    return (visits * reward).sum(1), (visits * kl).sum(1)
