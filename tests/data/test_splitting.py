"""Held-out data: by prompt, stable, and the overlap with other data is told."""

from __future__ import annotations

import pytest

from assent.data import overlap, read, split_by_prompt
from assent.errors import AssentError


def records(n, repeats=2):
    return read([{"prompt": f"prompt {i % n}", "completion": str(i)} for i in range(n * repeats)])


def test_share_and_stability():
    whole = records(1000)
    train, test = split_by_prompt(whole, 0.1, seed=3)
    assert len(train) + len(test) == 2000 and 140 <= len(test) <= 260  # 200 expected, standard error 19
    assert train.report["held out"] == len(test) and whole.report["held out"] == 0
    smaller = split_by_prompt(records(500), 0.1, seed=3)[1]
    kept = {row.prompt for row in test.rows}
    assert {row.prompt for row in smaller.rows} == {p for p in kept if int(p.split()[1]) < 500}
    assert {row.prompt for row in split_by_prompt(whole, 0.1, seed=4)[1].rows} != kept


def test_both_sides_get_something():
    for fraction in (0.001, 0.999):
        train, test = split_by_prompt(records(2), fraction, seed=0)
        assert len(train) == len(test) == 2
    with pytest.raises(AssentError, match="all rows have the same prompt"):
        split_by_prompt(records(1), 0.5)
    with pytest.raises(AssentError, match="the evaluation fraction is 1"):
        split_by_prompt(records(5), 1.0)


def test_annotators_of_each_side():
    rows = [{"prompt": p, "chosen": "a", "rejected": "b", "annotator": p} for p in ("anna", "ben")]
    train, test = split_by_prompt(read(rows), 0.5, seed=0)
    assert {*train.annotators, *test.annotators} == {"anna", "ben"} and not {*train.annotators} & {*test.annotators}


def test_overlap_is_counted():
    train = read([{"prompt": "one  two", "completion": "x"}])
    test = read([{"prompt": "one two ", "completion": "y"}, {"prompt": "three", "completion": "z"}])
    assert overlap(train, test) == 1
    assert test.report["prompts in both"] == 1 and test.report.events["prompts in both"].rows == [0]
