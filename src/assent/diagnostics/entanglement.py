"""Entanglement: what a step does to both log-probabilities of a pair whose gradients overlap.  Yuan et al., arXiv:2410.13828.

A pair update is d_w g_w - d_l g_l, g the gradients of the two log-probabilities and d_w, d_l the pair weights of the loss.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

IDEAL, BOTH_DOWN, BOTH_UP = "ideal", "both down", "both up"
REVERSED, STILL = "reversed", "still"
"""Chosen down and rejected up, which needs a pair weight below 0 (IPO past its target); and no change at all."""


def case_of(chosen: float, rejected: float) -> str:
    """The case of a pair by the signs of its two changes, whatever the pair weights; no change counts as wanted."""
    if chosen == 0.0 == rejected:
        return STILL
    if chosen >= 0.0:
        return IDEAL if rejected <= 0.0 else BOTH_UP
    return BOTH_DOWN if rejected <= 0.0 else REVERSED


@dataclass(frozen=True)
class PairGradients:
    """Inner products of the two gradients of each pair: <g_w, g_l>, |g_w|^2 and |g_l|^2, [P] or scalars."""

    inner: Tensor
    chosen_sq: Tensor
    rejected_sq: Tensor

    @classmethod
    def of(cls, chosen: Iterable[Tensor | None], rejected: Iterable[Tensor | None]) -> PairGradients:
        """From the two gradients of one pair, a tensor for each parameter; None stands for zeros.

        Under Adam, give preconditioned gradients: the inner product that decides is the optimiser's.
        """
        inner = chosen_sq = rejected_sq = torch.zeros((), dtype=torch.float64)
        for w, l in zip(chosen, rejected, strict=True):
            if w is not None:
                chosen_sq = chosen_sq + w.detach().double().square().sum().cpu()
            if l is not None:
                rejected_sq = rejected_sq + l.detach().double().square().sum().cpu()
            if w is not None and l is not None:
                inner = inner + (w.detach().double() * l.detach().double()).sum().cpu()
        return cls(inner, chosen_sq, rejected_sq)

    @property
    def cosine(self) -> Tensor:
        """Cosine of the two gradients; NaN where one is zero."""
        return self.inner / (self.chosen_sq * self.rejected_sq).sqrt()

    @property
    def balanced_ratio(self) -> Tensor:
        """|g_l| / |g_w|: the only d_w / d_l under which both conditions always hold, that of normalised gradients."""
        return (self.rejected_sq / self.chosen_sq).sqrt()

    def changes(self, d_w: Tensor | float = 1.0, d_l: Tensor | float = 1.0, rate: float = 1.0) -> tuple[Tensor, Tensor]:
        """First-order changes of (log p_w, log p_l) in nats by a gradient step of size ``rate``."""
        chosen = rate * (d_w * self.chosen_sq - d_l * self.inner)
        rejected = rate * (d_w * self.inner - d_l * self.rejected_sq)
        return chosen, rejected

    def thresholds(self, d_w: Tensor | float = 1.0, d_l: Tensor | float = 1.0) -> tuple[Tensor, Tensor]:
        """Largest inner products under which the chosen side rises, and under which the rejected one falls (d above 0)."""
        return d_w / d_l * self.chosen_sq, d_l / d_w * self.rejected_sq

    def conditions(self, d_w: Tensor | float = 1.0, d_l: Tensor | float = 1.0) -> tuple[Tensor, Tensor]:
        """Whether (the chosen side does not fall, the rejected one does not rise); never neither at once (d above 0)."""
        up, down = self.thresholds(d_w, d_l)
        return self.inner <= up, self.inner <= down

    def cases(self, d_w: Tensor | float = 1.0, d_l: Tensor | float = 1.0) -> list[str]:
        """The paper's case of each pair: "ideal", "both down" or "both up" (Table 1, with the minimum of both norms)."""
        up, down = (c.reshape(-1).tolist() for c in self.conditions(d_w, d_l))
        return [IDEAL if a and b else BOTH_UP if a else BOTH_DOWN for a, b in zip(up, down, strict=True)]
