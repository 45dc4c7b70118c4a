"""What an estimate of reliabilities rests on: gold labels, agreement between annotators, or the model alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

from assent.scores import Labels

ENOUGH_GOLD = 20  # gold pairs from which on they decide the side and the scale
ENOUGH_AGREEMENT = 30  # labels on pairs that another annotator judged too


@dataclass(frozen=True)
class Evidence:
    """Counts behind an estimate: labels that are gold, that share their pair with another annotator, that stand alone.

    margins: whether logits were given.  anchored: pairs with a gold label.
    """

    rests_on: Literal["gold", "agreement", "model"]
    margins: bool
    gold: int
    shared: int
    alone: int
    annotators: int


def evidence_of(margins: bool, labels: Labels, annotators: int) -> Evidence:
    """Count the evidence of ``labels`` and name what an estimate from it rests on.

    "gold" from 20 gold labels on; else "agreement" where there are no margins or at least 30 labels share their
    pair with another annotator's; else "model".
    """
    pairs = int(labels.pair.max()) + 1 if len(labels) else 0
    gold = torch.zeros_like(labels.pair, dtype=torch.bool) if labels.gold is None else labels.gold.bool()
    high = torch.full((pairs,), -1, dtype=torch.long, device=labels.pair.device)
    annotator = labels.annotator.long()
    low = torch.full_like(high, annotators).scatter_reduce(0, labels.pair.long(), annotator, "amin")
    high = high.scatter_reduce(0, labels.pair.long(), annotator, "amax")
    shared = (low != high).index_select(0, labels.pair.long()) & ~gold
    n_gold, n_shared = int(gold.sum()), int(shared.sum())
    if n_gold >= ENOUGH_GOLD:
        verdict = "gold"
    elif not margins or n_shared >= ENOUGH_AGREEMENT:
        verdict = "agreement"
    else:
        verdict = "model"
    return Evidence(verdict, margins, n_gold, n_shared, len(labels) - n_gold - n_shared, annotators)
