"""Options that several verbs share."""

from __future__ import annotations

import json

import pytest

from assent.cli.options import json_line, renames
from assent.errors import AssentError


def test_renames_are_read_and_refused_in_words() -> None:
    assert renames(["question=prompt", "a=chosen, b=rejected"]) == {
        "question": "prompt",
        "a": "chosen",
        "b": "rejected",
    }
    assert renames(None) is None
    with pytest.raises(AssentError, match="expected old=new"):
        renames(["question"])


def test_json_is_one_strict_line() -> None:
    line = json_line({"a": float("nan"), "b": [1.5, float("inf")], "c": {"d": None}, "e": "ü\n"})
    assert "\n" not in line
    assert json.loads(line) == {"a": None, "b": [1.5, None], "c": {"d": None}, "e": "ü\n"}
