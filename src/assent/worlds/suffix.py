"""A pair that differs in its first token and shares a suffix: how much of the two gradients is the same.

A policy is one output matrix W [V, D] over fixed contexts: log p of a token y after context h is log_softmax(W h)[y].
Chosen is token 0 and k random tokens, rejected token 1 and the same k; the suffix contexts of the two are unit vectors
with cosine ``rho``, those of the rejected side ``stretch`` times as long.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from assent.worlds.stacked import generators


@dataclass(frozen=True)
class Suffix:
    """R runs: start [R, V, D], contexts of either side [R, k + 1, D], their tokens [R, k + 1]."""

    start: Tensor
    chosen_context: Tensor
    rejected_context: Tensor
    chosen: Tensor
    rejected: Tensor

    def logp(self, matrix: Tensor) -> tuple[Tensor, Tensor]:
        """Log-probabilities [R] of chosen and rejected, nats per sequence."""
        sides = ((self.chosen_context, self.chosen), (self.rejected_context, self.rejected))
        w, l = ((h @ matrix.mT).log_softmax(2).gather(2, y[:, :, None]).sum((1, 2)) for h, y in sides)
        return w, l

    def gradients(self, matrix: Tensor) -> tuple[Tensor, Tensor]:
        """Gradients [R, V, D] of the two log-probabilities."""
        matrix = matrix.detach().requires_grad_(True)
        w, l = (torch.autograd.grad(side.sum(), matrix)[0] for side in self.logp(matrix))
        return w, l


def draw(
    seeds: Sequence[int], shared: int, *, rho: float = 0.9, stretch: float = 1.3, draws: int = 4, vocabulary: int = 8,
    width: int = 16,
) -> Suffix:  # fmt: skip
    """``draws`` runs a seed, side by side; W ~ .3 N(0, 1), the prompt's context a unit vector common to both sides."""
    runs = []
    for g in generators(seeds, 21):
        for _ in range(draws):
            unit = torch.nn.functional.normalize(
                torch.randn(1 + 2 * shared, width, generator=g, dtype=torch.float64), dim=1
            )
            first, base, other = unit.split([1, shared, shared])
            across = torch.nn.functional.normalize(other - (other * base).sum(1, keepdim=True) * base, dim=1)
            turned = stretch * (rho * base + (1 - rho**2) ** 0.5 * across)
            tokens = torch.randint(vocabulary, (shared,), generator=g)
            start = 0.3 * torch.randn(vocabulary, width, generator=g, dtype=torch.float64)
            sides = [torch.cat([torch.tensor([y]), tokens]) for y in (0, 1)]
            runs.append((start, torch.cat([first, base]), torch.cat([first, turned]), *sides))
    return Suffix(*(torch.stack(parts) for parts in zip(*runs, strict=True)))


def descend(
    world: Suffix, slope: Callable[[Tensor], Tensor], steps: int = 100, lr: float = 0.05
) -> tuple[Tensor, Tensor]:
    """Changes [R] of both log-probabilities after gradient steps; ``slope`` maps W [R, V, D] to what is descended."""
    matrix = world.start
    for _ in range(steps):
        matrix = matrix - lr * slope(matrix)
    with torch.no_grad():
        before, after = world.logp(world.start), world.logp(matrix)
    return after[0] - before[0], after[1] - before[1]
