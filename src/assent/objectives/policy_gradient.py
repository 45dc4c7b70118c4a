"""Policy gradients on groups of sampled completions: GRPO (2402.03300) and RLOO (2402.14740).  The score is the reward."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from assent.objectives.kinds import GroupObjective
from assent.objectives.parts import LENGTH, REFERENCE, TOKENS, Need, State, require
from assent.objectives.primitives import bounded_expm1
from assent.objectives.registry import explain_foreign, register
from assent.objectives.token_sums import token_log_ratio, token_sum, token_values
from assent.scores import GroupScores
from assent.shapes import PerCompletion, PerRow

SMALLEST = 1e-8
"""A group whose rewards differ by less has no advantages."""


def group_mean(scores: GroupScores, values: PerCompletion) -> PerCompletion:
    """The mean over its group, for each completion [C]."""
    count = scores.sum_groups(torch.ones_like(values))
    return (scores.sum_groups(values) / count)[scores.group]


def advantages(scores: GroupScores, reward: PerCompletion, scale: str) -> PerCompletion:
    """Reward less the group's mean [C]; over the group's population standard deviation where ``scale`` is "std"."""
    centred = reward - group_mean(scores, reward)
    if scale == "none":
        return centred
    spread = group_mean(scores, centred**2).sqrt()
    return torch.where(spread > SMALLEST, centred / spread.clamp_min(SMALLEST), 0.0)


@register
@dataclass(frozen=True)
class GRPO(GroupObjective):
    r"""-min(rho_t A, clip(rho_t, 1 - clip, 1 + clip) A) + beta k3_t, mean over tokens, then over the group's completions.

    rho_t = pi / pi_old of a token, pi_old the sampling policy (token column ``old``); A: the group's advantage of the reward.
    clip: half-width of the trusted ratios, .2.  beta: weight of k3 = ref/pi - 1 - log(ref/pi) against the reference, .04; 0
    reads no reference.  scale: "std" divides advantages by their spread (the paper), "none" does not (Dr. GRPO).
    length: "mean" over a completion's tokens (the paper), or "sum", which does not favour long bad answers.
    At pi = pi_old = ref the loss is 0 and its gradient that of REINFORCE; equal rewards give none.
    """

    clip: float = 0.2
    beta: float = 0.04
    scale: str = "std"
    length: str = "mean"
    old: str = "old_logp"
    name = "grpo"
    paper, equation = "2402.03300", "3 and 4"

    def __post_init__(self) -> None:
        require(0 < self.clip < 1, "grpo", "clip", self.clip, "a number between 0 and 1 (epsilon)")
        require(0 <= self.beta < float("inf"), "grpo", "beta", self.beta, "a finite number, 0 or more")
        require(self.scale in ("std", "none"), "grpo", "scale", self.scale, "'std' or 'none'")
        require(self.length in ("mean", "sum"), "grpo", "length", self.length, "'mean' or 'sum'")
        require(bool(self.old), "grpo", "old", self.old, "the name of a token column")

    @property
    def needs(self) -> frozenset[Need]:
        return frozenset({TOKENS, LENGTH, _old(self.old), *([REFERENCE] if self.beta else [])})

    def __call__(self, scores: GroupScores, state: State | None = None) -> PerRow:
        side = scores.completions
        advantage = advantages(scores, scores.score.to(side.logp), self.scale)[side.tokens.row]
        ratio = 1 + bounded_expm1(side.tokens.logp - token_values(side, self.old))
        loss = -torch.minimum(ratio * advantage, ratio.clamp(1 - self.clip, 1 + self.clip) * advantage)
        if self.beta:
            loss = loss + self.beta * k3(-token_log_ratio(side))
        total = token_sum(side, loss)
        return _mean(scores, total / side.length if self.length == "mean" else total)


@register
@dataclass(frozen=True)
class RLOO(GroupObjective):
    r"""-A pi/pi_old of whole completions, A = r - mean of the others' r, r = reward - beta log(pi_old / ref); group mean.

    beta: weight of the KL penalty inside the reward, .05, no gradient through it; 0 reads no reference.
    old: token column of the sampling policy.  At pi = pi_old the gradient is -A grad log pi, REINFORCE with a leave-one-out
    baseline.  clip: ratios beyond 1 +- clip get no gradient where that would carry them further; None (the paper) trusts all.
    """

    beta: float = 0.05
    clip: float | None = None
    old: str = "old_logp"
    name = "rloo"
    paper, equation = "2402.14740", "the RLOO estimator"

    def __post_init__(self) -> None:
        require(0 <= self.beta < float("inf"), "rloo", "beta", self.beta, "a finite number, 0 or more")
        require(self.clip is None or 0 < self.clip < 1, "rloo", "clip", self.clip, "a number between 0 and 1, or None")
        require(bool(self.old), "rloo", "old", self.old, "the name of a token column")

    @property
    def needs(self) -> frozenset[Need]:
        return frozenset({TOKENS, _old(self.old), *([REFERENCE] if self.beta else [])})

    def __call__(self, scores: GroupScores, state: State | None = None) -> PerRow:
        side = scores.completions
        old = token_sum(side, token_values(side, self.old))
        reward = scores.score.to(side.logp)
        if self.beta:
            reward = reward - self.beta * (old - side.ref_logp)
        count = scores.sum_groups(torch.ones_like(reward))[scores.group]
        advantage = (count * (reward - group_mean(scores, reward)) / (count - 1).clamp_min(1)).detach()
        ratio = 1 + bounded_expm1(side.logp - old)
        gain = ratio * advantage
        if self.clip is not None:
            gain = torch.minimum(gain, ratio.clamp(1 - self.clip, 1 + self.clip) * advantage)
        return _mean(scores, -gain)


def k3(log_ratio: Tensor) -> Tensor:
    """e^x - 1 - x of x = log(ref / pi): an estimator of KL(pi || ref) that is never negative."""
    return bounded_expm1(log_ratio) - log_ratio


def _old(name: str) -> Need:
    return REFERENCE if name == "ref_logp" else Need("token_column", name)


def _mean(scores: GroupScores, values: PerCompletion) -> PerRow:
    return scores.sum_groups(values) / scores.sum_groups(torch.ones_like(values))


explain_foreign("grpo", "epsilon", "the field is called clip")
explain_foreign("grpo", "num_generations", "completions of a prompt are drawn by the source: --samples")
