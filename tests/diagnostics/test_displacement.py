from __future__ import annotations

import pytest
import torch

from assent.diagnostics.displacement import chosen_change, displaced_share
from assent.errors import AssentError
from assent.scores import PairScores, Scores


def test_change_per_token_by_hand():
    chosen = Scores(torch.tensor([-10.0, -6.0]), torch.tensor([-8.0, -9.0]), torch.tensor([4, 6]))
    scores = PairScores(chosen, chosen)
    change = chosen_change(scores)
    assert change.tolist() == [-0.5, 0.5]
    assert displaced_share(change).item() == 0.5
    assert displaced_share(change, torch.tensor([3.0, 1.0])).item() == 0.75
    assert displaced_share(torch.tensor([-1e-6, -1e-3])).item() == 0.5, "what rounding takes is not lost"


def test_a_reference_is_needed():
    side = Scores(torch.zeros(1), length=torch.ones(1))
    with pytest.raises(AssentError, match="no ref_logp"):
        chosen_change(PairScores(side, side))
