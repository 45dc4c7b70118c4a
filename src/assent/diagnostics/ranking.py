"""Whether the policy's own likelihood ranks pairs right, and what moved since before.  Chen et al., arXiv:2405.19534.

Not the accuracy of rewards, which divide by the reference: a policy can win every reward and rank as its reference does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from assent.diagnostics.difficulty import idealised_accuracy

BETAS = (0.01, 0.1, 1.0, 5.0, 10.0)
"""The paper's range of beta for the idealised accuracy, since that of a closed model is not known."""
UNANIMOUS = 0.001
"""The share that a unanimous vote leaves to the other side, as in the paper: at 0 there is no finite optimum."""
TIE = 0.01
"""Two probabilities nearer than this are tied (definition C.1)."""


def ranked_right(chosen: Tensor, rejected: Tensor) -> Tensor:
    """1 where the policy gives the chosen side at least the probability of the rejected one [P] (definition 2.3).

    chosen, rejected: log-probabilities in nats, per sequence, or per token for the normalised accuracy.
    """
    return (chosen >= rejected).to(torch.float64)


def ranked_with_ties(first: Tensor, second: Tensor, share: Tensor, tie: float = TIE) -> Tensor:
    """1 where the probabilities agree with the raters [P] (definition C.1).

    share: of raters for the first side.  At 1/2 the two probabilities must lie within ``tie``; else the preferred side's is
    larger.  first, second: log-probabilities; those of long sequences are all tied by this definition.
    """
    tied = (first.double().exp() - second.double().exp()).abs() < tie
    larger = torch.where(share > 0.5, first > second, first < second)
    return torch.where(share == 0.5, tied, larger).to(torch.float64)


def exact_order(logp: Tensor, score: Tensor, group: Tensor) -> Tensor:
    """1 for each group [G] whose whole order is that of the scores (definition A.8); equal scores may stand either way.

    logp, score [C]; group [C]: the group of each completion, from 0.
    """
    better = (group[:, None] == group[None, :]) & (score[:, None] > score[None, :])
    wrong = (better & (logp[:, None] < logp[None, :])).any(1).double()
    return (wrong.new_zeros(int(group.max()) + 1).index_add(0, group, wrong) == 0).double()


class Idealised(NamedTuple):
    """Share of pairs that the optimum of DPO or RLHF ranks right: least, median and largest over beta."""

    least: float
    median: float
    largest: float


def idealised_range(difficulty: Tensor, share: Tensor, betas: Sequence[float] = BETAS) -> Idealised:
    """Corollary 3.3 over a range of beta; ``difficulty`` c [P] in nats per sequence (per token: the normalised one).

    share [P]: P(w is preferred), kept within UNANIMOUS of 0 and 1.
    """
    share = share.double().clamp(UNANIMOUS, 1 - UNANIMOUS)
    found = sorted(float(idealised_accuracy(difficulty.double(), share, beta)) for beta in betas)
    middle = len(found) // 2
    return Idealised(found[0], found[middle] if len(found) % 2 else sum(found[middle - 1 : middle + 1]) / 2, found[-1])


def transition(before: Tensor, after: Tensor) -> dict[str, int]:
    """How many pairs were ranked right or wrong before and after; both [P] as ``ranked_right`` gives them."""
    was, now = before > 0.5, after > 0.5
    return {
        f"{a}_{b}": int(((was if a == "right" else ~was) & (now if b == "right" else ~now)).sum())
        for a in ("right", "wrong")
        for b in ("right", "wrong")
    }
