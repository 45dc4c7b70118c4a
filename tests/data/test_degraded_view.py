"""Responses that lose their key phrases level by level."""

from __future__ import annotations

from random import Random

import pytest

from assent import AssentError
from assent.data.degraded_view import degraded, degraded_view
from assent.data.keywords import keywords
from assent.records import Pair

TEXT = " The old harbour has narrow streets, a stone church and the best fish market of this quiet coast."


def test_levels_run_from_the_text_itself_to_none_of_its_key_phrases() -> None:
    made = [degraded(TEXT, level, 4) for level in range(4)]
    assert made[0] == TEXT and keywords(made[3]) == []
    counts = [len(keywords(text)) for text in made]
    assert counts == sorted(counts, reverse=True) and len(set(counts)) == 4, counts
    assert degraded(TEXT, 0, 1) == TEXT
    with pytest.raises(AssentError, match="level is 4, levels 4"):
        degraded(TEXT, 4, 4)


def test_a_view_has_its_level_and_loses_nothing_of_the_prompt() -> None:
    pair = Pair("Describe the old harbour.", TEXT, " it is what it is")
    seen = set()
    for seed in range(20):
        example, columns = degraded_view(pair, "chosen", 4, Random(seed))
        assert example.prompt == pair.prompt and example.completion == degraded(TEXT, int(columns["degree"]), 4)
        seen.add(columns["degree"])
    assert seen == {0.0, 1.0, 2.0, 3.0}
    assert degraded_view(pair, "rejected", 4, Random(0)) is None, "no key phrase: nothing could be graded"


def test_only_the_assistant_forgets() -> None:
    said = [{"role": "assistant", "content": TEXT}, {"role": "user", "content": "narrow streets"}]
    pair = Pair(
        [{"role": "user", "content": "Go on"}], [*said, {"role": "assistant", "content": "stone church"}], said[:1]
    )
    example, columns = degraded_view(pair, "chosen", 2, Random(1))
    told = [m["content"] for m in example.completion]
    assert told[1] == "narrow streets" and (columns["degree"] == 0 or told[2] == "")
