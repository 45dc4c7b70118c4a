"""The study of four levers: each sets one thing apart, and both kinds of labels are as many."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
import unpacking_study as study
from assent.records import Label, Pair


def test_a_lever_changes_one_thing() -> None:
    expected = {"data": "labels", "algorithm": "judge", "reward model": "judge", "prompts": "prompts"}
    for name, sides in study.LEVERS.items():
        one, other = (asdict(study.ARMS[side]) for side in sides)
        assert [field for field in one if one[field] != other[field]] == [expected[name.split(",")[0]]], name


def test_one_label_of_each_pair() -> None:
    pairs = [
        Pair("p", "a", "b", labels=(Label("x", 1.0), Label("y", 0.0))),
        Pair("q", "a", "b", labels=(Label("z", 0.0),)),
    ]
    kept = study.first_labels(pairs)
    assert [pair.labels for pair in kept] == [(Label("x", 1.0),), (Label("z", 0.0),)]
    assert [pair.prompt for pair in kept] == ["p", "q"]
