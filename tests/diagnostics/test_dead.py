"""Pairs that teach nothing."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import torch

from assent.diagnostics.dead import identical, still
from assent.objectives import parse
from assent.objectives.pair_weights import pair_weights
from assent.scores import PairScores, Scores


def force(objective, margins):
    zero = torch.zeros(len(margins), dtype=torch.float64)
    chosen = torch.tensor(margins, dtype=torch.float64)
    length = torch.ones(len(margins), dtype=torch.float64)
    scores = PairScores(Scores(chosen, zero, length), Scores(zero, zero, length))
    up, down = pair_weights(parse(objective), scores)
    return up.abs() + down.abs()


def test_a_hinge_leaves_settled_pairs_still():
    assert still(force("hinge(beta=1.0)", [0.5, 3.0, -2.0])).tolist() == [False, True, False]


def test_a_logistic_loss_stops_at_a_millionth():
    """sigmoid(-s) is 1e-6 of sigmoid(0) at s = ln(2e6 - 1) = 14.5."""
    edge = math.log(2e6 - 1)
    found = still(force("dpo(beta=1.0)", [0.0, edge - 0.01, edge + 0.01]))
    assert found.tolist() == [False, False, True]
    assert still(torch.zeros(2)).all() and len(still(torch.zeros(0))) == 0


def test_identical_sides_are_told_by_their_tokens():
    side = lambda *ids: SimpleNamespace(ids=np.array(ids))  # noqa: E731
    rows = [SimpleNamespace(chosen=side(1, 2), rejected=side(*other)) for other in ((1, 2), (1, 3), (1, 2, 3))]
    assert identical(rows).tolist() == [True, False, False]
