"""KL(policy || reference) per sequence by named estimators, of completions that were drawn from the policy itself.

Completions of the data, or greedy ones, give something else: no estimator here may be fed with them.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from assent.diagnostics.mean import Mean


def k1(log_ratio: Tensor) -> Tensor:
    """log p/r [T] of drawn tokens: unbiased, with the largest variance, and below 0 as often as not at small KL."""
    return log_ratio


def k2(log_ratio: Tensor) -> Tensor:
    """(log p/r)^2 / 2 [T]: never negative, biased, right to second order for near policies."""
    return log_ratio.square() / 2


def k3(log_ratio: Tensor) -> Tensor:
    """r/p - 1 - log r/p [T]: never negative and unbiased, since the mean of r/p under p is 1."""
    return torch.expm1(-log_ratio) + log_ratio


ESTIMATORS: dict[str, Callable[[Tensor], Tensor]] = {"k1": k1, "k2": k2, "k3": k3}


def sequence_kl(per_token: Tensor, row: Tensor, samples: int) -> Mean:
    """Nats per sequence with the standard error over ``samples`` completions: the sum of each one's tokens, averaged.

    per_token [T]: an estimator's value, or the whole vocabulary's KL at each place.  row [T]: the completion of each token.
    Where each token's value is unbiased given what stands before it, so is the sum.
    """
    return Mean.of(torch.zeros(samples, dtype=torch.float64).index_add(0, row, per_token.double()))


def full_vocabulary(logits: Tensor, ref_logits: Tensor) -> Tensor:
    """KL(p || r) [N] of next-token distributions from logits [N, V], in nats, never negative.

    Summed along drawn completions it is unbiased for the sequence's KL: no chance enters at a token's own place.
    """
    p, r = torch.log_softmax(logits.double(), -1), torch.log_softmax(ref_logits.double(), -1)
    return (p.exp() * (p - r)).sum(-1)
