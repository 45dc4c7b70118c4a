"""The three properties of DPO's decline: drop of the rejected side, response suppression, dispersion.  arXiv:2406.07327.

All in log space: the rejected side's probability passes 1e-40 within a few hundred steps of a small world.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from assent.objectives.primitives import log_complement
from assent.scores import PairScores


class ThreeD(NamedTuple):
    """The three measures, [P] each, in nats; all 0 where policy = reference.

    drop: fall of the rejected side's log-probability.  suppression: fall of the chosen side's, above 0 where training
    suppresses both.  dispersion: rise of the log of the probability outside the pair, log(1 - p_w - p_l).
    """

    drop: Tensor
    suppression: Tensor
    dispersion: Tensor


def log_unseen(chosen: Tensor, rejected: Tensor) -> Tensor:
    """log(1 - p_w - p_l) [P] of two log-probabilities, nats; a pair that holds all but 1e-6 is taken to hold that much."""
    return log_complement(torch.logaddexp(chosen, rejected).clamp_max(-1e-6))


def three_d(scores: PairScores) -> ThreeD:
    """The three measures of each pair, without gradient.  Raises AssentError when the scores carry no reference."""
    chosen, rejected = scores.chosen, scores.rejected
    drop, suppression = -rejected.log_ratio.detach(), -chosen.log_ratio.detach()
    now = log_unseen(chosen.logp.detach(), rejected.logp.detach())
    return ThreeD(drop, suppression, now - log_unseen(chosen.ref_logp, rejected.ref_logp))


def log_slopes(scores: PairScores, beta: float) -> tuple[Tensor, Tensor]:
    """(log |dl/dp_w|, log |dl/dp_l|) [P] of dpo(beta) in the probabilities: log beta + log sigmoid(-beta h) - log p.

    Their difference is log(p_w / p_l), whatever beta: with beta < 1 the rejected slope grows as p_l^(beta - 1).  In the
    log-probabilities the two are equal; the imbalance is one of coordinates.
    """
    chosen, rejected = scores.chosen.logp.detach(), scores.rejected.logp.detach()
    size = math.log(beta) + logsigmoid(-beta * scores.log_ratio_gap.detach())
    return size - chosen, size - rejected


def unseen_change(logp: Tensor, ref_logp: Tensor) -> Tensor:
    """Rise of the mean log-probability of held-out answers [C] over the reference's, nats per sequence; a scalar."""
    return (logp.detach() - ref_logp).mean()
