"""Pairs given by plain numbers, for values that are worked out by hand."""

from __future__ import annotations

import torch

from assent.scores import PairScores, Scores


def pair(
    chosen: float, rejected: float, ref: tuple[float, float] = (0.0, 0.0), length: tuple[float, float] = (1.0, 1.0)
) -> PairScores:
    """One pair, float64, with gradients on both log-probabilities (nats per sequence)."""

    def side(logp: float, ref_logp: float, tokens: float) -> Scores:
        number = lambda x: torch.tensor([x], dtype=torch.float64)  # noqa: E731
        return Scores(number(logp).requires_grad_(), number(ref_logp), number(tokens))

    return PairScores(side(chosen, ref[0], length[0]), side(rejected, ref[1], length[1]))


def value(loss: torch.Tensor) -> float:
    """The number of a loss of one pair."""
    return loss.detach().item()


def slopes(scores: PairScores, loss: torch.Tensor) -> tuple[float, float]:
    """d loss / d log-probability of the chosen and of the rejected side."""
    both = (scores.chosen.logp, scores.rejected.logp)
    chosen, rejected = torch.autograd.grad(loss.sum(), both, allow_unused=True)
    return (0.0 if chosen is None else chosen.item(), 0.0 if rejected is None else rejected.item())
