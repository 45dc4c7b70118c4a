"""Softmax tables that learn from their own samples, judged by scores q: P(i before j) = sigmoid(q_i - q_j).

Rewards r ~ N(0, 1) of 10 responses to 30 prompts; the reference is uniform.  At each step every prompt draws 4 distinct
responses from the current policy, the judge compares them two by two, and plain gradient descent follows (rate .3,
falling linearly to .01); a prompt's loss is the sum over its pairs divided by 4.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from assent.objectives import Objective
from assent.scores import PairScores, Scores
from assent.worlds.stacked import generators

SAMPLES = 4
FIRST, SECOND = torch.triu_indices(SAMPLES, SAMPLES, 1)


@dataclass(frozen=True)
class Arm:
    """How judgements become pairs.

    judge [M, X, Y]: the scores q.  label: the probability itself, one draw from it, or the likelier order as if certain.
    pairs: all; the best against the worst by mean probability ("ends"); the same by mean label ("ends of labels").
    """

    judge: Tensor
    label: Literal["soft", "drawn", "hard"] = "soft"
    pairs: Literal["all", "ends", "ends of labels"] = "all"


def draw(seeds: Sequence[int], prompts: int = 30, responses: int = 10) -> Tensor:
    """Rewards [M, X, Y]."""
    return torch.stack(
        [torch.randn(prompts, responses, generator=g, dtype=torch.float64) for g in generators(seeds, 44)]
    )


def fit(objective: Objective, arms: Sequence[Arm], seeds: Sequence[int], steps: int = 3000) -> Tensor:
    """Logits [A, M, X, Y] of each arm's policies from the uniform one; arms share the draws, runs do not."""
    judge = torch.stack([arm.judge for arm in arms])
    theta, draws = torch.zeros_like(judge), generators(seeds, 45)
    reference = judge.new_full((judge[..., 0].numel() * len(FIRST),), -math.log(judge.shape[-1]))
    for step in range(steps):
        noise = _uniform(draws, judge.shape[2:])
        toss = _uniform(draws, (judge.shape[2], len(FIRST)))
        theta.requires_grad_(True)
        logp = theta.log_softmax(-1)
        picked = (logp.detach() - (-noise.log()).log()).topk(SAMPLES, -1).indices
        q, logp = judge.gather(-1, picked), logp.gather(-1, picked)
        p = torch.sigmoid(q[..., FIRST] - q[..., SECOND])
        label = torch.stack([_label(arm, x, toss) for arm, x in zip(arms, p, strict=True)])
        kept = torch.stack([_kept(arm, x, y) for arm, x, y in zip(arms, p, label, strict=True)])
        sides = (Scores(logp[..., side].flatten(), reference) for side in (FIRST, SECOND))
        loss = objective(PairScores(*sides, target=label.flatten()))
        (slope,) = torch.autograd.grad((loss * kept.flatten()).sum() / SAMPLES, theta)
        theta = theta.detach() - (0.3 + (0.01 - 0.3) * step / steps) * slope
    return theta


def _uniform(draws: Sequence[torch.Generator], shape: Sequence[int]) -> Tensor:
    return torch.stack([torch.rand(*shape, generator=g, dtype=torch.float64) for g in draws]).clamp_min(1e-300)


def _label(arm: Arm, p: Tensor, toss: Tensor) -> Tensor:
    """The pairs' labels [M, X, 6] from their probabilities."""
    return {"soft": p, "drawn": (toss < p).double(), "hard": (p > 0.5).double()}[arm.label]


def _kept(arm: Arm, p: Tensor, label: Tensor) -> Tensor:
    """1 for the pairs [M, X, 6] that are trained on; of equally good responses the first sampled is the end."""
    if arm.pairs == "all":
        return torch.ones_like(p)
    by = p if arm.pairs == "ends" else label
    wins = p.new_zeros(*p.shape[:-1], SAMPLES).index_add(-1, FIRST, by).index_add(-1, SECOND, 1 - by)
    top, low = (end.unsqueeze(-1) for end in (wins.argmax(-1), wins.argmin(-1)))
    return (((top == FIRST) & (low == SECOND)) | ((low == FIRST) & (top == SECOND))).double()


def divergence(theta: Tensor, other: Tensor) -> Tensor:
    """KL(softmax(theta) || softmax(other)), mean over prompts, [..., X, Y] -> [...]."""
    logp = theta.log_softmax(-1)
    return (logp.exp() * (logp - other.log_softmax(-1))).sum(-1).mean(-1)
