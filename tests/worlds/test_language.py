"""The small language: its counts and its reward by hand."""

from __future__ import annotations

import pytest

from assent.worlds import language

GARDEN_LONG = "write long garden note for sister"
GARDEN_SHORT = "send short garden note for mayor"


def test_size_and_order_of_the_language():
    prompts = language.prompts()
    assert len(prompts) == len(set(prompts)) == 4 * 2 * 8 * 8
    assert {len(prompt.split()) for prompt in prompts} == {6}
    assert len(language.WORDS) == len(set(language.WORDS)) == 71
    nouns = [noun for nouns in language.TOPICS.values() for noun in nouns]
    assert len(set(nouns)) == 32


# by hand with the weights 1.0 -0.8 0.5 -0.5 0.7 -1.2 1.0 -0.7 -0.7 in the order of Reward's fields
@pytest.mark.parametrize(
    ("prompt", "completion", "value"),
    [
        # kind .7; rose, leaf, seed on topic 3; ordered 3 x .5; closing 1
        (GARDEN_LONG, "hello fresh rose and lovely leaf and old seed love", 0.7 + 3 + 1.5 + 1),
        # the same noun again is off topic: 1 - .8; ordered twice; two nouns of three asked for
        (GARDEN_LONG, "fresh rose and fresh rose", 1 - 0.8 + 1.0 - 0.7),
        # rude -1.2; oven off topic -.8; disordered -.5; wrong closing -.7; length as asked
        (GARDEN_SHORT, "whatever oven warm love", -1.2 - 0.8 - 0.5 - 0.7),
        # a closing counts only at the end; three nouns too few by three
        (GARDEN_LONG, "love", 1.0 - 2.1),
        (GARDEN_LONG, "love hello", 0.7 - 2.1),
        (GARDEN_SHORT, "", -0.7),
    ],
)
def test_reward_by_hand(prompt, completion, value):
    assert language.Reward()(prompt, completion) == pytest.approx(value, abs=1e-12)


def test_corpus_is_drawn_from_its_seed_and_fits_the_limits():
    rows = language.corpus(language.prompts(), 500, seed=3)
    assert rows == language.corpus(language.prompts(), 500, seed=3)
    assert rows != language.corpus(language.prompts(), 500, seed=4)
    lengths = [len(completion.split()) for _, completion in rows]
    assert max(lengths) < language.LONGEST and min(lengths) >= 2
    assert {word for _, c in rows for word in c.split()} <= set(language.WORDS)


def test_reward_reads_the_topic_and_the_person_of_the_prompt():
    reward = language.Reward()
    text = "hello quiet boat love"
    assert reward("write short river note for uncle", text) == pytest.approx(0.7 + 1 + 0.5 + 1)
    assert reward("write short school note for doctor", text) == pytest.approx(0.7 - 0.8 + 0.5 - 0.7)
