"""Implied prompts: dialogues end at a turn, text at a word, conversations at the turn that asks."""

from __future__ import annotations

import pytest

from assent.data import read
from assent.data.dialogue import common_prefix
from assent.errors import AssentError


def split(chosen, rejected):
    records = read([{"chosen": chosen, "rejected": rejected}])
    return records.rows[0].prompt, records.rows[0].chosen, records.rows[0].rejected, records.report


@pytest.mark.parametrize(
    ("a", "b", "n"),
    [("", "", 0), ("ab", "ab", 2), ("ab", "abc", 2), ("abc", "ab", 2), ("abd", "abc", 2), ("x", "y", 0)],
)
def test_common_prefix(a, b, n):
    assert common_prefix(a, b) == n


@pytest.mark.parametrize(
    ("chosen", "rejected", "expected"),
    [
        ("Q: 2+2? A: four", "Q: 2+2? A: five", ("Q: 2+2? A:", " four", " five")),
        ("Q: 2+2?\nfour", "Q: 2+2?\nfive", ("Q: 2+2?\n", "four", "five")),
        ("Say: Hello", "Say: Hello there", ("Say:", " Hello", " Hello there")),
        ("abc", "abd", ("", "abc", "abd")),
        ("Say:\n", "Say:\nyes", ("Say:\n", "", "yes")),
    ],
)
def test_text_is_cut_at_a_word(chosen, rejected, expected):
    *got, report = split(chosen, rejected)
    assert tuple(got) == expected and report["prompt implied"] == 1
    assert report["completion empty"] == int("" in expected[1:])


def test_dialogue_is_cut_after_the_last_shared_assistant():
    head = "\n\nHuman: Hi\n\nAssistant: Hello.\n\nHuman: What?\n\nAssistant:"
    prompt, chosen, rejected, report = split(head + " It is", head + " It was")
    assert (prompt, chosen, rejected) == (head, " It is", " It was")
    assert report["dialogue split"] == 1 and report["dialogue branches early"] == 0
    short = "\n\nHuman: Hi\n\nAssistant:"
    prompt, chosen, _, report = split(short + " a\n\nHuman: b\n\nAssistant: c", short + " d")
    assert prompt == short and chosen == " a\n\nHuman: b\n\nAssistant: c"
    assert report["dialogue branches early"] == 1


def say(*turns):
    return [{"role": role, "content": text} for role, text in turns]


def test_conversations_share_their_first_messages():
    asked = (("system", "s"), ("user", "q"))
    prompt, chosen, rejected, _ = split(say(*asked, ("assistant", "x")), say(*asked, ("assistant", "y")))
    assert (prompt, chosen, rejected) == (say(*asked), say(("assistant", "x")), say(("assistant", "y")))
    one, two = (
        say(("user", "q"), ("assistant", "x"), ("user", "r"), ("assistant", "z")),
        say(("user", "q"), ("assistant", "x")),
    )
    prompt, chosen, rejected, _ = split(one, two)
    assert prompt == say(("user", "q")) and rejected == say(("assistant", "x")) and len(chosen) == 3
    with pytest.raises(AssentError, match="share no message"):
        split(say(("user", "a"), ("assistant", "x")), say(("user", "b"), ("assistant", "x")))


def read_one(prompt, chosen, rejected):
    records = read([{"prompt": prompt, "chosen": chosen, "rejected": rejected}])
    return records.rows[0], records.report


def test_text_prompt_beside_conversations():
    """As in the binarized UltraFeedback: the prompt as text, and whole conversations that begin with it."""
    pair, report = read_one("q", say(("user", "q"), ("assistant", "x")), say(("user", "q"), ("assistant", "y")))
    assert (pair.prompt, pair.chosen, pair.rejected) == (
        say(("user", "q")),
        say(("assistant", "x")),
        say(("assistant", "y")),
    )
    assert report["prompt inside completion"] == 2 and report["prompt made a message"] == 0
    pair, report = read_one("q", say(("assistant", "x")), say(("assistant", "y")))
    assert pair.prompt == say(("user", "q")) and report["prompt made a message"] == 1
    pair, report = read_one(say(("user", "q")), "x", say(("user", "q"), ("assistant", "y")))
    assert pair.chosen == say(("assistant", "x")) and pair.rejected == say(("assistant", "y"))
    assert report["completion made a message"] == 1 and report["prompt inside completion"] == 1


def test_parts_of_text_become_text_and_images_are_refused():
    parts = [{"role": "assistant", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}]
    assert read_one("q", parts, "c")[0].chosen == say(("assistant", "ab"))
    image = [{"role": "assistant", "content": [{"type": "image"}]}]
    with pytest.raises(AssentError, match=r"parts of type \['image'\]; only text can be read"):
        read_one("q", image, "c")
