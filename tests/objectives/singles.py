"""Labelled completions given by plain numbers, for values that are worked out by hand."""

from __future__ import annotations

import torch

from assent import Scores


def singles(logp: list[float], label: list[float], ref: list[float] | None = None, **columns: list[float]) -> Scores:
    """Completions in float64 with gradients on the log-probabilities; reference 0 and length 1 unless given."""
    number = lambda x: torch.tensor(x, dtype=torch.float64)  # noqa: E731
    length = number(columns.pop("length", [1.0] * len(logp)))
    own = {name: number(value) for name, value in columns.items()} | {"label": number(label)}
    return Scores(number(logp).requires_grad_(), number(ref or [0.0] * len(logp)), length, columns=own)


def slopes(loss: torch.Tensor, scores: Scores) -> list[float]:
    """d sum of the loss / d log-probability of each completion."""
    return torch.autograd.grad(loss.sum(), scores.logp)[0].tolist()
