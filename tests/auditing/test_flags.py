"""Flags against cases small enough to be drawn."""

from __future__ import annotations

import numpy as np

from assent.auditing.flags import NAMES, cycles, find_flags, length_driven
from assent.auditing.table import LabelTable, from_records
from assent.data import read


def _table(rows: list[dict]) -> LabelTable:
    return from_records(read(rows))


def _row(prompt: str, chosen: str, rejected: str, annotator: str = "*") -> dict:
    return {"prompt": prompt, "chosen": chosen, "rejected": rejected, "annotator": annotator}


def test_a_circle_of_three_is_a_cycle_and_a_chain_is_none() -> None:
    table = _table(
        [_row("q", "a", "b"), _row("q", "b", "c"), _row("q", "c", "a"), _row("q", "c", "d"),
         _row("other", "a", "b"), _row("other", "b", "c"), _row("other", "a", "c")]
    )  # fmt: skip
    marked = cycles(table, [p.prompt for p in table.records or ()])
    assert marked.tolist() == [True, True, True, False, False, False, False]


def test_a_majority_opens_a_circle() -> None:
    rows = [
        _row("q", "a", "b"),
        _row("q", "b", "c"),
        _row("q", "c", "a", "x"),
        _row("q", "a", "c", "y"),
        _row("q", "a", "c", "z"),
    ]
    table = _table(rows)
    assert not cycles(table, [p.prompt for p in table.records or ()]).any()


def test_contradictions_duplicates_and_ties() -> None:
    rows = [
        _row("q", "a", "b", "x"), _row("q", "b", "a", "y"), _row("q", "a", "b", "x"), _row("r", "a", "b", "x"),
        {**_row("s", "a", "b", "x"), "p_chosen": 0.5},
    ]  # fmt: skip
    table = _table(rows)
    flags = find_flags(table, None, None)
    assert tuple(flags) == NAMES
    by_row = {name: sorted(table.row[marked].tolist()) for name, marked in flags.items()}
    assert by_row["contradiction"] == [0, 1]
    assert by_row["duplicate"] == [0]  # rows 0 and 2 are one label of x
    assert by_row["tie"] == [4]
    assert by_row["near_duplicate"] == [] and by_row["length_driven"] == []


def test_pairs_that_differ_in_a_word_are_near_duplicates_in_either_order() -> None:
    long = "The harbour lay still in the early light while the boats came home one after the other. " * 3
    other = "A quite different answer that speaks of winter and of bread and of the price of paper. " * 3
    rows = [
        _row("What happened?", long, other),
        _row("what  happened?", other.upper(), long.replace("early", "pale", 1)),
        _row("What happened?", long, "No idea."),
        _row("Who came?", long, other),
    ]
    table = _table(rows)
    assert find_flags(table, None, None)["near_duplicate"].tolist() == [True, True, False, False]


def test_length_driven_needs_a_longer_response_and_nothing_else() -> None:
    table = _table(
        [
            _row("q1", "aaaaaaaa", "b"),
            _row("q2", "aaaaaaaa", "b"),
            _row("q3", "a", "bbbbbbbb"),
            _row("q4", "aaaa", "bbbb"),
        ]
    )
    sizes = np.array([[8, 1], [8, 1], [1, 8], [4, 4]], dtype=float)
    marked = length_driven(table, np.array([-0.5, 0.5, -0.5, -0.5]), sizes)
    assert marked.tolist() == [True, False, False, False]
