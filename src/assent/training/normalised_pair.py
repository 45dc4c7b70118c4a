"""The normalised pair gradient: each side's gradient at length 1, so that the chosen side rises and the rejected one falls.

Named by 2410.13828; its formula is derived.  To first order log p_w gains rate x |g_w| (1 - cos) and log p_l loses as much
of its own, whatever the angle, unlike any loss with a fixed ratio of pair weights.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

SMALLEST = 1e-30
"""Gradients shorter than this count as zero."""


def norm(gradients: Sequence[Tensor | None]) -> Tensor:
    """Euclidean length over all parameters together, a float64 scalar; None stands for zeros."""
    squares = [g.detach().double().square().sum() for g in gradients if g is not None]
    return torch.stack(squares).sum().sqrt() if squares else torch.zeros((), dtype=torch.float64)


def normalised_pair(chosen: Sequence[Tensor | None], rejected: Sequence[Tensor | None]) -> list[Tensor | None]:
    """-(g_w / |g_w| - g_l / |g_l|) for every parameter: what an optimiser that descends takes as the gradient.

    chosen, rejected: gradients of the two log-probabilities of a pair (or of their sums over a step's pairs), in the
    order of the parameters; None for a parameter that a side does not reach.  A side without gradient adds nothing.
    """
    scales = [1 / length if length > SMALLEST else torch.zeros_like(length) for length in map(norm, (chosen, rejected))]
    update: list[Tensor | None] = []
    for w, l in zip(chosen, rejected, strict=True):
        down = None if l is None else l * scales[1].to(l)
        up = None if w is None else w * scales[0].to(w)
        update.append(-up if down is None and up is not None else down if up is None else down - up)
    return update
