"""Numbers on a page: nothing is lost but what the page says is rounded."""

from __future__ import annotations

import base64
import json
import zlib

import numpy as np
import pytest

from assent.reporting.packing import packed, unpacked, words


def test_floats_keep_a_part_in_32767_of_the_largest_and_nan() -> None:
    values = np.array([0.0, -3.0, 1.5, np.nan, 2.9999, np.inf])
    block = packed({"x": values}, said="so")
    back = unpacked(block)["x"]
    assert block["said"] == "so"
    assert np.abs(back - values)[[0, 1, 2, 4]].max() <= 0.5 * 3 / 32767 * 1.001
    assert np.isnan(back[[3, 5]]).all(), "what is not finite has no number"


@pytest.mark.parametrize(
    "values",
    [[], [0], [5, 4, 4, 200], [0, 1, 2, 3, 70_000], [-3, 2_000_000_000, 7], [2**40, 2**40 + 1], list(range(1000))],
)
def test_whole_numbers_are_exact(values: list[int]) -> None:
    back = unpacked(packed({"a": np.array(values, dtype=np.int64), "b": np.array([1, 2])}))
    assert back["a"].astype(np.int64).tolist() == values
    assert back["b"].tolist() == [1, 2]


def test_a_hundred_thousand_row_numbers_take_a_line() -> None:
    assert len(packed({"row": np.arange(100_000)})["data"]) < 400


def test_words_are_strict_json_in_utf_8() -> None:
    block = words({"a": "</script>\ud800\U0001f600", "n": float("nan")})
    found = json.loads(zlib.decompress(base64.b64decode(block["data"])).decode())
    assert found == {"a": "</script>?\U0001f600", "n": None}
