"""How an objective moves a pair: its update is d_w g_w - d_l g_l, g the gradients of the two log-probabilities."""

from __future__ import annotations

from dataclasses import replace

import torch

from assent.objectives.base import Objective
from assent.objectives.parts import RunInfo, State
from assent.scores import PairScores
from assent.shapes import PerPair


def pair_weights(objective: Objective, scores: PairScores, state: State | None = None) -> tuple[PerPair, PerPair]:
    """(d_w, d_l) [P] each: -d loss / d logp of the chosen side and d loss / d logp of the rejected one, by autograd.

    DPO has d_w = d_l = beta sigmoid(-beta h).  An objective that reads single tokens is followed through the sums only
    where its tokens depend on them, so give it scores whose ``logp`` it reads.
    """
    state = objective.init(RunInfo()) if state is None else state
    chosen, rejected = (side.logp.detach().requires_grad_() for side in (scores.chosen, scores.rejected))
    moved = replace(
        scores, chosen=replace(scores.chosen, logp=chosen), rejected=replace(scores.rejected, logp=rejected)
    )
    with torch.enable_grad():
        loss = objective(moved, state).sum()
        up, down = torch.autograd.grad(loss, (chosen, rejected), allow_unused=True, materialize_grads=True)
    return -up, down
