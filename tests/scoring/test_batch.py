from __future__ import annotations

import numpy as np
import pytest
from tiny import Sequence

from assent.errors import AssentError
from assent.scoring.batch import collate


def test_a_batch_by_hand():
    one = Sequence(np.array([5, 6, 7, 8]), 2, np.array([False, False, True, True]))
    two = Sequence(np.array([9, 10, 11]), 1, np.array([False, False, True]))
    batch = collate([one, two], pad_token_id=4)
    assert batch.ids.tolist() == [[5, 6, 7, 8], [9, 10, 11, 4]]
    assert batch.row.tolist() == [0, 0, 1]
    assert batch.position.tolist() == [2, 3, 2]
    assert batch.index.tolist() == [0, 1, 1]
    assert batch.target.tolist() == [7, 8, 11]
    assert batch.length.tolist() == [2, 1]
    assert batch.kept.tolist() == [1, 2]
    assert batch.flat.tolist() == [0, 1, 2]
    assert batch.targets_of_kept().tolist() == [7, 8, 11, 0]


def test_an_empty_batch_is_refused():
    with pytest.raises(AssentError, match="0 sequences"):
        collate([], 0)
