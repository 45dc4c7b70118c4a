"""The mirror family with sampled gradients: pairs uniform, opponents drawn, the loss that users train with."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from assent.games.equilibrium import Game
from assent.games.mirror import named
from assent.objectives import parse
from assent.scores import Column, PairScores, Scores
from assent.worlds.stacked import generators

SAMPLES, CHUNK = 100, 500


def noisy_gaps(
    game: Game, methods: Sequence[str], *, rate: float, steps: int, seeds: Sequence[int]
) -> dict[str, Tensor]:
    """Duality gap [M] of each method, mean over the second half of ``steps`` plain gradient steps from the reference.

    game: one for each seed [M, A, A].  methods: "omd" or "egpo".  Each step draws `SAMPLES` pairs from the uniform law and an
    opponent for each pair from the policy; EGPO's half step has draws of its own, and every method the same draws.
    """
    rows, arms = len(methods), game.p.shape[-1]
    half = torch.tensor([named(m).judged == 2 for m in methods])[:, None, None]
    loss, draws = parse(f"ipo_soft(tau={game.tau!r})"), generators(seeds, 62)
    theta = game.ref.expand(rows, -1, -1).clone()
    ref, total, counted = theta.clone(), torch.zeros(rows, len(game.p), dtype=torch.float64), 0

    def slope(theta: Tensor, opponent: Tensor, pair: Tensor, u: Tensor) -> Tensor:
        """The mean gradient of the drawn pairs [M, N, 2] with opponents by inversion of u [M, N]."""
        theta = theta.detach().requires_grad_()
        logp = theta.log_softmax(-1)
        third = (u.unsqueeze(-1) > opponent.cumsum(-1)[..., None, :-1]).sum(-1)
        sides, columns = [], {}
        for k, (name, other) in enumerate((("chosen", "rejected"), ("rejected", "chosen"))):
            arm = pair[..., k].expand(rows, -1, -1)
            sides.append(Scores(logp.gather(-1, arm).flatten(), ref.gather(-1, arm).flatten()))
            wins = game.p.expand(rows, -1, -1, -1).flatten(-2).gather(-1, arm * arms + third)
            columns[f"win_rate_{name}"] = Column(wins.flatten(), exchange=f"win_rate_{other}")
        (found,) = torch.autograd.grad(loss(PairScores(*sides, columns=columns)).sum() / SAMPLES, theta)
        return found

    for t in range(steps):
        if t % CHUNK == 0:  # draws of many steps at once
            shape = (CHUNK, 2, SAMPLES)
            pairs = torch.stack([torch.randint(arms, (*shape, 2), generator=g) for g in draws], 2)
            us = torch.stack([torch.rand(shape, generator=g, dtype=torch.float64) for g in draws], 2)
        pair, u = pairs[t % CHUNK], us[t % CHUNK]
        first = theta - rate * slope(theta, theta.softmax(-1), pair[0], u[0])
        opponent = torch.where(half, first, theta).softmax(-1)
        theta = theta - rate * slope(theta, opponent, pair[1], u[1])
        if t >= steps // 2 and t % 20 == 0:
            total, counted = total + game.gap(theta), counted + 1
    return {name: total[i] / counted for i, name in enumerate(methods)}
