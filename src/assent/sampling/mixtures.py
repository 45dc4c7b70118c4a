"""Mixtures of a policy with another model, token by token or sequence by sequence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from assent.errors import AssentError
from assent.sampling.draws import uniforms
from assent.sampling.generation import Completion, Generator, Mixing
from assent.sampling.settings import SamplingSettings


def _check(share: float) -> None:
    if not 0 <= share <= 1:
        raise AssentError(f"the other model's share of a mixture is {share!r}; expected a number in [0, 1]")


def geometric(share: float) -> Mixing:
    """Next tokens from policy^(1 - share) other^share, normalised: Nash-MD's and IPO-MD's mixture, applied at every token."""
    _check(share)

    def mix(policy: Tensor, other: Tensor) -> Tensor:
        return torch.log_softmax((1 - share) * policy + share * other, -1)

    return mix


def linear(share: float) -> Mixing:
    """Next tokens from (1 - share) policy + share other."""
    _check(share)

    def mix(policy: Tensor, other: Tensor) -> Tensor:
        if share in (0, 1):
            return other if share else policy
        return torch.logaddexp(policy + float(np.log1p(-share)), other + float(np.log(share)))

    return mix


@dataclass(frozen=True)
class SequenceMixture:
    """Whole completions of ``other`` with probability ``share``, else of ``policy``; drawn once for each completion.

    logp of a completion is that of the model that made it.
    """

    policy: Generator
    other: Generator
    share: float
    name: str = "mixture of sequences"

    def __post_init__(self) -> None:
        _check(self.share)

    def generate(self, prompts: Sequence[np.ndarray], count: int, settings: SamplingSettings) -> list[Completion]:
        coins = [uniforms(ids, j, 1, settings.seed + 1)[0] < self.share for ids in prompts for j in range(count)]
        sides = [g.generate(prompts, count, settings) for g in (self.policy, self.other)]
        return [b if coin else a for coin, a, b in zip(coins, *sides, strict=True)]


@dataclass(frozen=True)
class Alternating:
    """Even-numbered completions of ``policy``, odd-numbered ones of ``other``: pairs of one each (XPO, 2405.21046)."""

    policy: Generator
    other: Generator
    name: str = "alternating"

    def generate(self, prompts: Sequence[np.ndarray], count: int, settings: SamplingSettings) -> list[Completion]:
        halves = (count + 1) // 2, count // 2
        own = self.policy.generate(prompts, halves[0], settings)
        apart = replace(settings, seed=settings.seed + 1)  # equal models must not draw equal completions
        others = self.other.generate(prompts, halves[1], apart) if halves[1] else []
        found = [replace(m, sample=2 * m.sample) for m in own] + [replace(m, sample=2 * m.sample + 1) for m in others]
        return sorted(found, key=lambda m: (m.prompt, m.sample))


def best_of(completions: Sequence[Completion], scores: Sequence[float]) -> list[Completion]:
    """The completion of the highest score of each prompt, the first of equal ones; scores of NaN lose to all others.

    Prompts all of whose completions have no score are left out.  sample becomes 0.
    """
    if len(completions) != len(scores):
        raise AssentError(
            f"best_of was given {len(completions)} completions and {len(scores)} scores; expected as many"
        )
    best: dict[int, tuple[float, Completion]] = {}
    for made, score in zip(completions, scores, strict=True):
        if score == score and (made.prompt not in best or score > best[made.prompt][0]):
            best[made.prompt] = (score, made)
    return [replace(made, sample=0) for _, made in (best[i] for i in sorted(best))]
