"""A group given by plain numbers, for values that are worked out by hand."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from assent.scores import GroupScores, Scores


def grouped(log_ratios: Sequence[float], score: Sequence[float]) -> GroupScores:
    """One group, float64, under a reference of log-probability 0, with gradients on the log-probabilities."""
    number = lambda x: torch.tensor(x, dtype=torch.float64)  # noqa: E731
    logp = number(list(log_ratios)).requires_grad_()
    side = Scores(logp, torch.zeros_like(logp).detach())
    return GroupScores(side, torch.zeros(len(logp), dtype=torch.long), number(list(score)))


def slopes(loss: torch.Tensor, scores: GroupScores) -> list[float]:
    """d loss / d log-probability of each completion."""
    (found,) = torch.autograd.grad(loss.sum(), scores.completions.logp)
    return found.tolist()
