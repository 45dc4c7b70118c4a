"""The rationale's prompt, and that its order gives nothing away."""

from __future__ import annotations

import pytest

from assent import AssentError
from assent.data.rationale_view import order_leaks, rationale_view
from assent.records import Pair


def _pairs(count: int) -> list[Pair]:
    return [Pair(f"question {i}", f"good {i}", f"bad {i}", rationale=f"because {i}") for i in range(count)]


def test_text_by_hand() -> None:
    view = rationale_view(_pairs(1)[0], seed=None)
    assert view.completion == "because 0"
    assert view.prompt == (
        "question 0\n\nWhich of the two responses below is the better answer to this prompt, and follows it more closely?\n\n"
        "Response above: 'good 0'\nResponse below: 'bad 0'\n\n"
    )


def test_the_order_is_drawn_and_the_pair_turned_round_draws_the_same_prompt() -> None:
    pairs = _pairs(400)
    assert order_leaks(pairs, seed=None) == 1.0
    # 200 +- 4 standard deviations of 10
    assert abs(order_leaks(pairs) * 400 - 200) < 40 and order_leaks(pairs, 1) != order_leaks(pairs, 2)
    for pair in pairs[:50]:
        assert rationale_view(pair).prompt == rationale_view(pair.swapped()).prompt


def test_messages_stay_messages() -> None:
    said = lambda role, text: [{"role": role, "content": text}]  # noqa: E731
    pair = Pair(said("user", "q"), said("assistant", "a"), said("assistant", "b"), rationale="why")
    view = rationale_view(pair, seed=None)
    assert view.completion == said("assistant", "why")
    assert view.prompt[0]["role"] == "user" and "Response above: 'a'" in view.prompt[0]["content"]


def test_without_a_rationale_it_says_so() -> None:
    with pytest.raises(AssentError, match="has no rationale"):
        rationale_view(Pair("q", "a", "b"))
    with pytest.raises(AssentError, match="no pairs"):
        order_leaks([])
