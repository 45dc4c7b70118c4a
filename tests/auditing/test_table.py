"""Records as arrays: who said what of which pair."""

from __future__ import annotations

import numpy as np
import pytest

from assent.auditing.table import from_records
from assent.data import read
from assent.errors import AssentError

ROWS = [
    {"prompt": "q", "response_a": "x", "response_b": "y", "p_b": 0.9, "annotator": "ben"},
    {"prompt": "q", "response_a": "y", "response_b": "x", "p_b": 0.8, "annotator": "anna", "weight": 2},
    {"prompt": "r", "response_a": "x", "response_b": "y", "p_b": 0.3, "annotator": "ben"},
    {"prompt": "q", "response_a": "x", "response_b": "y", "p_b": 0.7, "annotator": "ben"},
    {"prompt": "r", "response_a": "same", "response_b": "same", "p_b": 0.3, "annotator": "ben"},
]


def test_labels_of_merged_judgements() -> None:
    table = from_records(read(ROWS))
    assert table.pairs == 2 and table.names == ("anna", "ben") and table.n_rows == 5
    # anna's weight of 2 makes x the stored side of q: .8 for it; ben's mean for y is .8
    by = {
        (int(i), table.names[k]): (p, w)
        for i, k, p, w in zip(table.pair, table.annotator, table.p, table.weight, strict=True)
    }
    stored = (table.records or ())[0].chosen
    sign = 1 if stored == "x" else -1
    assert by[0, "anna"][0] - 0.5 == pytest.approx(0.3 * sign) and by[0, "anna"][1] == 2
    assert by[0, "ben"][0] - 0.5 == pytest.approx(-0.3 * sign) and by[0, "ben"][1] == 2
    assert by[1, "ben"] == (pytest.approx(0.7), 1)
    assert table.more == {int((table.annotator == 1).argmax()): (3,)}
    assert any(note.startswith("1 identical completions") for note in table.notes)


def test_keeping_some_pairs_renumbers_them() -> None:
    table = from_records(read(ROWS[:3])).kept(np.array([False, True]))
    assert table.pairs == 1 and table.pair.tolist() == [0] and table.row.tolist() == [2]


def test_other_kinds_of_rows_are_refused() -> None:
    with pytest.raises(AssentError, match="these are sft rows"):
        from_records(read([{"prompt": "q", "completion": "c"}]))
