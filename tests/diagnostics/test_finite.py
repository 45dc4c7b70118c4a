from __future__ import annotations

import torch

from assent.diagnostics.finite import broken_rows
from assent.scores import PairScores, Scores


def test_rows_and_fields_are_named():
    nan, inf = float("nan"), float("inf")
    chosen = Scores(torch.tensor([-1.0, nan, -3.0]), torch.tensor([-1.0, -1.0, -1.0]))
    rejected = Scores(torch.tensor([-1.0, -2.0, -3.0]), torch.tensor([-1.0, -1.0, -inf]))
    scores = PairScores(chosen, rejected, weight=torch.ones(3))
    loss = torch.tensor([0.7, nan, nan])
    assert broken_rows(scores, loss) == {1: ["chosen.logp", "loss"], 2: ["rejected.ref_logp", "loss"]}


def test_a_sound_batch_has_none():
    assert broken_rows(Scores(torch.zeros(2)), torch.zeros(2)) == {}
