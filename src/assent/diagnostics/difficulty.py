"""What the best policy could rank, and how long a wrongly ranked pair takes to turn.  Chen et al., arXiv:2405.19534.

c = log r(l) / r(w) is the difficulty of a pair under the reference r, in nats per sequence (``weighting.difficulty``).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import softplus


def threshold_loss(difficulty: Tensor, beta: float) -> Tensor:
    """log(1 + e^(-beta c)) [P]: DPO ranks the pair right exactly when its loss is at most this (theorem 4.1); ln 2 at c = 0."""
    return softplus(-beta * difficulty)


def idealised_log_ratio(difficulty: Tensor, share: Tensor, beta: float) -> Tensor:
    """log p*(w) / p*(l) [P] at the optimum of DPO or RLHF: -c + logit(share) / beta (theorem 3.1), nats per sequence.

    share: P(w is preferred), in (0, 1); at 1 there is no finite optimum and the value is infinite.
    """
    return -difficulty + torch.logit(share) / beta


def idealised_accuracy(difficulty: Tensor, share: Tensor, beta: float) -> Tensor:
    """Share of pairs that the optimum ranks right (corollary 3.3), by the equation and not the authors' code."""
    return (idealised_log_ratio(difficulty, share, beta) > 0).to(difficulty).mean()


def flip_time(difficulty: Tensor, beta: float) -> Tensor:
    """Time [P] at which gradient flow of DPO on two free logits turns a pair: [c + (e^(beta c) - 1) / beta] / (2 beta).

    0 for pairs that the reference ranks right.
    """
    c = difficulty.clamp_min(0)
    return (c + torch.expm1(beta * c) / beta) / (2 * beta)
