"""Features change sign with the order; named columns become what they say."""

from __future__ import annotations

import numpy as np
import pytest
from textworld import text_world

from assent.auditing.features import _Topics, lengths, pair_features
from assent.auditing.table import from_records
from assent.data import read
from assent.errors import AssentError


def _rows(n: int = 120) -> list[dict]:
    rows = text_world(n, {"a": 0.8}, seed=0).rows
    return [
        {
            **r,
            "writer_chosen": f"w{i % 3}",
            "writer_rejected": f"w{(i + 1) % 3}",
            "score_gap": float(i % 5),
            "topic": "xy"[i % 2],
        }
        for i, r in enumerate(rows)
    ]


def test_swapping_every_pair_negates_every_feature() -> None:
    rows = _rows()
    swapped = [
        {**r, "chosen": r["rejected"], "rejected": r["chosen"], "writer_chosen": r["writer_rejected"],
         "writer_rejected": r["writer_chosen"]} for r in rows
    ]  # fmt: skip
    named = ["writer", "score_gap", "topic"]
    one, two = (pair_features(from_records(read(r)), named) for r in (rows, swapped))
    assert one.names == two.names
    kept = np.array([not n.startswith("topic ") for n in one.names])  # the sample's directions have free signs
    np.testing.assert_allclose(one.difference[:, kept], -two.difference[:, kept], atol=1e-4)
    np.testing.assert_array_equal(one.length_gap, -two.length_gap)


def test_writers_become_indicators_and_either_side_names_them() -> None:
    table = from_records(read(_rows(6)))
    found = pair_features(table, ["writer_chosen", "writer_rejected"])
    at = [found.names.index(f"writer=w{k}") for k in range(3)]
    np.testing.assert_allclose(found.difference[0, at] / 2, [1, -1, 0])
    np.testing.assert_allclose(found.difference[1, at] / 2, [0, 1, -1])


def test_length_columns_and_gap() -> None:
    rows = _rows(50)
    table = from_records(read(rows))
    found = pair_features(table)
    assert found.length[found.names.index("length")] and found.length[found.names.index("bent words")]
    assert not found.length[found.names.index("bullets")]
    np.testing.assert_array_equal(found.length_gap, [len(r["chosen"]) - len(r["rejected"]) for r in rows])
    np.testing.assert_array_equal(lengths(table.records or ())[3], [len(rows[3]["chosen"]), len(rows[3]["rejected"])])


def test_an_unknown_column_gets_the_nearest_known_one() -> None:
    with pytest.raises(AssentError, match="did you mean 'writer'"):
        pair_features(from_records(read(_rows(5))), ["writr"])


def test_messages_are_read_as_their_words() -> None:
    rows = [{"prompt": [{"role": "user", "content": f"q{i}"}], "chosen": [{"role": "assistant", "content": "a b"}],
             "rejected": [{"role": "assistant", "content": "a"}]} for i in range(3)]  # fmt: skip
    found = pair_features(from_records(read(rows)))
    assert found.length_gap.tolist() == [2, 2, 2]


def test_words_come_in_an_order_that_no_process_changes() -> None:
    """By count, then by spelling; a set's own order differs from process to process, and the topics with it."""
    words = [f"word{i}" for i in range(40)]
    texts = [" ".join([*words, "often"])] * 3 + ["often rare"]
    assert list(_Topics.of(texts).vocabulary) == ["often", *sorted(words)]
