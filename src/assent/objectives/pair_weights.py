"""How an objective moves a pair: its update is d_w g_w - d_l g_l, g the gradients of the two log-probabilities."""

from __future__ import annotations

from dataclasses import replace

import torch

from assent.objectives.base import Objective
from assent.objectives.parts import RunInfo, State
from assent.scores import PairScores, Scores
from assent.shapes import PerPair


def pair_weights(objective: Objective, scores: PairScores, state: State | None = None) -> tuple[PerPair, PerPair]:
    """(d_w, d_l) [P] each: -d loss / d logp of the chosen side and d loss / d logp of the rejected one, by autograd.

    DPO has d_w = d_l = beta sigmoid(-beta h).  Where single tokens are read, a side's log-probability moves by the same
    amount in each of its tokens; entropies and divergences stay.
    """
    state = objective.init(RunInfo()) if state is None else state
    rise = (
        torch.zeros_like(scores.chosen.logp, requires_grad=True),
        torch.zeros_like(scores.rejected.logp, requires_grad=True),
    )
    moved = replace(scores, chosen=_raised(scores.chosen, rise[0]), rejected=_raised(scores.rejected, rise[1]))
    with torch.enable_grad():
        loss = objective(moved, state).sum() + 0.0 * sum(r.sum() for r in rise)  # some losses read no log-probability
        up, down = torch.autograd.grad(loss, rise, allow_unused=True, materialize_grads=True)
    return -up, down


def _raised(side: Scores, rise: PerPair) -> Scores:
    """A side without gradient of its own, its log-probability higher by ``rise`` [P], spread evenly over its tokens."""
    with torch.enable_grad():
        tokens = side.tokens
        if tokens is not None:
            count = tokens.sum_rows(torch.ones_like(tokens.logp), len(side))
            tokens = replace(tokens, logp=tokens.logp.detach() + (rise / count)[tokens.row])
        return replace(side, logp=side.logp.detach() + rise, tokens=tokens)
