"""A note where LCPO reads a loss that is not on the scale of log-odds: its posteriors are then 0 or 1 at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from assent.objectives import Objective
from assent.objectives.parts import within
from assent.scores import PairScores
from assent.training.metrics import lcpo_terms

STEEP = 5.0
"""Nats of log-odds for one nat of log-probability beyond which the note is given; DPO has beta, .1 or so."""


def steepness(base: Objective, scores: PairScores, state: Mapping[str, Tensor]) -> float:
    """Mean of |d induced logit / d log p(chosen)| over the pairs: nats of log-odds for a nat."""
    side, tokens = scores.chosen, scores.chosen.tokens
    flat = (side.logp if tokens is None else tokens.logp).detach().clone().requires_grad_(True)
    with torch.enable_grad():
        if tokens is None:
            moved = replace(side, logp=flat)
        else:  # the sum hangs on the tokens, for losses that read them
            moved = replace(side, logp=tokens.sum_rows(flat, len(side)), tokens=replace(tokens, logp=flat))
        logit = base.induced_logit(replace(scores, chosen=moved), state)
        if not logit.requires_grad:  # a reward model's: it reads no log-probability
            return 0.0
        (slope,) = torch.autograd.grad(logit.sum(), flat, allow_unused=True, materialize_grads=True)
    if tokens is not None:
        counts = torch.bincount(tokens.row, minlength=len(side)).clamp_min(1)
        slope = tokens.sum_rows(slope, len(side)) / counts
    return slope.abs().mean().item()


def notes(objective: Objective, scores: Any, state: Mapping[str, Tensor]) -> list[str]:
    """One sentence for every LCPO term in the "likelihood" reading whose base is steep."""
    found = []
    for term, key in lcpo_terms(objective):
        if not isinstance(scores, PairScores) or term.reading != "likelihood":
            continue
        slope = steepness(term.base, scores, within(within(state, key), "base"))
        if slope > STEEP:
            found.append(
                f"lcpo over {term.base!s}: a nat of log-ratio counts as {slope:,.0f} nats of log-odds, so that labels "
                "are taken for certainly right or wrong after a few steps; reading='mixture', or a loss whose margin "
                "is a log-odds, is safer"
            )
    return found
