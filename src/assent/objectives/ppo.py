"""PPO on groups of sampled completions: GAE over tokens, clipped ratios and values.  1707.06347, as 2406.09279 runs it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from assent.objectives.kinds import GroupObjective
from assent.objectives.parts import LENGTH, REFERENCE, TOKENS, Need, State, require
from assent.objectives.primitives import bounded_expm1
from assent.objectives.registry import explain_foreign, register
from assent.objectives.token_sums import place, token_values
from assent.scores import GroupScores
from assent.shapes import PerRow, PerToken

VALUE = "value"
"""The token column of the value head that the scorer owns."""


@register
@dataclass(frozen=True)
class PPO(GroupObjective):
    r"""max(-A rho, -A clip(rho, 1 +- clip)) + vf / 2 max((V - G)^2, (V_clipped - G)^2), mean over all tokens of the step.

    rho = pi / pi_old of a token; V_clipped = V_old + clip(V - V_old, +- value_clip); G = A + V_old before whitening.
    A: generalised advantages, A_t = delta_t + gamma lam A_(t+1), delta_t = r_t + gamma V_old,(t+1) - V_old,t, without gradient;
    r_t = -beta log(pi_old / ref), nats, plus the group's score at the last token.
    whiten: A less its mean, over its standard deviation, both over all tokens of the step.  A group serves as so many rollouts.
    value: "value", a head of the scorer on the policy's states, which get no gradient from it; or a token column.
    old, old_value: token columns of what the tokens were drawn from, and of the values then; None takes those of this very
    pass, as the code of 2406.09279 does: neither clip can then bind, and the gradient is that of an actor-critic.
    """

    clip: float = 0.2
    value_clip: float = 0.2
    vf: float = 0.1
    beta: float = 0.05
    gamma: float = 1.0
    lam: float = 0.95
    whiten: bool = True
    value: str = VALUE
    old: str | None = "old_logp"
    old_value: str | None = "old_value"
    name = "ppo"
    paper, equation = "1707.06347", "7 and 11"

    def __post_init__(self) -> None:
        require(0 < self.clip < 1, "ppo", "clip", self.clip, "a number between 0 and 1 (epsilon)")
        for field in ("value_clip", "vf", "beta"):
            value = getattr(self, field)
            low = value > 0 if field == "value_clip" else value >= 0
            allowed = "a finite number above 0" if field == "value_clip" else "a finite number, 0 or more"
            require(low and value < float("inf"), "ppo", field, value, allowed)
        for field in ("gamma", "lam"):
            require(0 <= getattr(self, field) <= 1, "ppo", field, getattr(self, field), "a number from 0 to 1")
        for field in ("value", "old", "old_value"):
            require(getattr(self, field) != "", "ppo", field, getattr(self, field), "the name of a token column")

    @property
    def couples(self) -> Literal["no", "step"]:
        return "step" if self.whiten else "no"

    @property
    def mean_over(self) -> Literal["token"]:
        return "token"

    @property
    def needs(self) -> frozenset[Need]:
        columns = {_column(name) for name in (self.old, self.old_value) if name is not None}
        return frozenset({TOKENS, LENGTH, _column(self.value), *columns, *([REFERENCE] if self.beta else [])})

    def counts(self, scores: GroupScores) -> PerRow:
        """Weight x counted tokens of each group [G]."""
        weights = self.weights(scores)
        return weights * scores.sum_groups(scores.completions.length.to(weights))

    def __call__(self, scores: GroupScores, state: State | None = None) -> PerRow:
        side = scores.completions
        group, logp, value = scores.group[side.tokens.row], side.tokens.logp, token_values(side, self.value)
        old = logp.detach() if self.old is None else token_values(side, self.old)
        before = value.detach() if self.old_value is None else token_values(side, self.old_value)
        advantage = self.advantages(scores, old, before)
        goal = advantage + before
        if self.whiten:
            advantage = whitened(advantage, self.weights(scores)[group])
        ratio = 1 + bounded_expm1(logp - old)
        policy = -torch.minimum(ratio * advantage, ratio.clamp(1 - self.clip, 1 + self.clip) * advantage)
        near = before + (value - before).clamp(-self.value_clip, self.value_clip)
        loss = policy + self.vf / 2 * torch.maximum((value - goal) ** 2, (near - goal) ** 2)
        return scores.ones().mul(0).index_add(0, group, loss)

    def advantages(self, scores: GroupScores, old: PerToken, value: PerToken) -> PerToken:
        """A [T] before whitening, without gradient."""
        side = scores.completions
        at, rows = place(side.tokens), side.tokens.row
        longest = int(at.max()) + 1
        grid = old.new_zeros(
            3, longest + 1, len(side)
        )  # rewards, values, and advantages below; a row of 0 behind the end
        last = at + 1 == torch.bincount(rows, minlength=len(side))[rows]
        reward = torch.where(last, scores.score.to(old)[rows], 0.0)
        if self.beta:
            reward = reward - self.beta * (old - token_values(side, "ref_logp"))
        grid[0, at, rows], grid[1, at, rows] = reward.detach(), value.detach()
        for step in range(longest - 1, -1, -1):
            delta = grid[0, step] + self.gamma * grid[1, step + 1] - grid[1, step]
            grid[2, step] = delta + self.gamma * self.lam * grid[2, step + 1]
        return grid[2, at, rows]


def whitened(values: PerToken, weight: Tensor) -> PerToken:
    """``values`` [T] less their weighted mean, over their standard deviation (unbiased; 1e-6 is added to the variance)."""
    total = weight.sum()
    centred = values - (weight * values).sum() / total.clamp_min(1e-30)
    variance = (weight * centred**2).sum() / (total - 1).clamp_min(1)
    return centred * torch.rsqrt(variance + 1e-6)


def _column(name: str) -> Need:
    """What gives a column by name: the value head, a mask, the reference, or a token column."""
    if name == VALUE:
        return Need("head", VALUE, 1)
    if name == "ref_logp":
        return REFERENCE
    return Need("mask", name) if name == "mask" else Need("token_column", name)


explain_foreign("ppo", "epsilon", "the field is called clip")
explain_foreign("ppo", "kl_coef", "the field is called beta; the penalty is part of the reward")
explain_foreign("ppo", "vf_coef", "the field is called vf")
