"""RAKE by hand."""

from __future__ import annotations

import pytest

from assent.data.keywords import keywords, without


def test_scores_of_three_texts_by_hand() -> None:
    # runs: [deep learning], [learning]; degree(deep) 2/1, degree(learning) (2 + 1)/2: phrases 3.5 and 1.5
    found = keywords("Deep learning is not the learning")
    assert [(k.phrase, k.score, k.spans) for k in found] == [
        ("deep learning", 3.5, ((0, 13),)), ("learning", 1.5, ((25, 33),)),
    ]  # fmt: skip
    # punctuation ends a phrase: [red], [blue sky] with 1, and 2 + 2
    assert [(k.phrase, k.score) for k in keywords("red, blue sky")] == [("blue sky", 4.0), ("red", 1.0)]
    # one phrase three times: degree 6 over frequency 3 for either word
    (only,) = keywords("Cold water and cold water or the COLD WATER")
    assert (only.phrase, only.score, len(only.spans)) == ("cold water", 4.0, 3)


@pytest.mark.parametrize("text", ["", "it is what it is", "... !"])
def test_texts_without_a_key_phrase(text: str) -> None:
    assert keywords(text) == []


def test_phrases_are_taken_out_with_one_blank() -> None:
    text = " The blue sky is blue sky."
    (sky,) = keywords(text)
    assert without(text, [sky]) == " The is."
    assert without(text, []) == text
