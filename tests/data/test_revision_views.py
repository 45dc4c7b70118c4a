"""What a reviser is asked, in the three forms that data have."""

from __future__ import annotations

import pytest

from assent import AssentError
from assent.data.revision_views import REQUEST, revision_prompt, revision_views
from assent.records import Pair


def test_prompts_of_text_dialogues_and_messages() -> None:
    assert revision_prompt("Sky?", " Blue.") == f"Sky? Blue.\n\n{REQUEST}\n\n"
    asked = "\n\nHuman: Sky?\n\nAssistant:"
    assert revision_prompt(asked, " Blue.") == f"{asked} Blue.\n\nHuman: {REQUEST}\n\nAssistant:"
    messages = revision_prompt([{"role": "user", "content": "Sky?"}], [{"role": "assistant", "content": "Blue."}])
    assert [m["content"] for m in messages] == ["Sky?", "Blue.", REQUEST]


def test_each_side_answers_in_each_context() -> None:
    views = revision_views(Pair("Sky?", " Blue.", " Green."))
    assert {name: (v.completion, " Green." in v.prompt) for name, v in views.items()} == {
        "chosen|chosen": (" Blue.", False), "chosen|rejected": (" Blue.", True),
        "rejected|chosen": (" Green.", False), "rejected|rejected": (" Green.", True),
    }  # fmt: skip
    with pytest.raises(AssentError, match="a prompt for each side"):
        revision_views(Pair("a", "b", "c", rejected_prompt="d"))
