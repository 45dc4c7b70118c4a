"""Instructions that can be checked, and the prompts made of them."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest

from assent import AssentError
from assent.data.instructions import GENERATORS, Generator, Instruction, drawn
from assent.data.mapl_views import inter_views, intra_views
from assent.records import Pair

GOOD = "Water boils at one hundred degrees because pressure is low.\n\nThat is the reason."
BAD = "It never boils."


def test_every_generator_keeps_its_promise() -> None:
    made = Counter()
    for generator in GENERATORS:
        for seed in range(60):
            for response in (GOOD, BAD, "One two three four five six seven"):
                for truth in (True, False):
                    found = generator(response, truth, Random(seed))
                    if found is not None:
                        made[generator.name, truth] += 1
                        assert found.obeyed(response) == truth
    assert len(made) == 2 * len(GENERATORS) and min(made.values()) >= 60


def test_instructions_by_hand() -> None:
    limits = {g.name: g for g in GENERATORS}
    # BAD has three words: at most 2 is not obeyed, the only limit below
    assert limits["at most"](BAD, False, Random(0)).text == "Use at most 2 words."
    assert limits["begin"](BAD, True, Random(0)).text == "Begin with the word 'it'."
    assert limits["paragraphs"](GOOD, True, Random(0)).text == "Write 2 paragraphs."
    assert limits["at least"]("Yes", True, Random(0)) is None


def test_the_wording_of_word_instructions_does_not_tell_the_truth() -> None:
    word = next(g for g in GENERATORS if g.name == "word")
    negative = lambda seed, truth: word(GOOD, truth, Random(seed)).text.startswith("Do not")  # noqa: E731
    said = {truth: Counter(negative(seed, truth) for seed in range(400)) for truth in (True, False)}
    # half of either, 200 +- 4 standard deviations of 10
    assert all(abs(counts[True] - 200) < 40 for counts in said.values())


def test_one_instruction_of_a_topic() -> None:
    for seed in range(20):
        topics = [g.topic for g in drawn(GENERATORS, Random(seed))]
        assert len(topics) == len(set(topics)) == 4
    with pytest.raises(AssentError, match="no instruction generators"):
        drawn([], Random(0))


def _marked(count: int) -> list[Generator]:
    """Generators of one topic each whose instruction says what it is made to be."""

    def marked(name: str, response: str, truth: bool) -> Instruction:
        return Instruction(name + ("+" if truth else "-"), lambda text: truth == (text == response))

    return [Generator(n, n, lambda response, truth, rng, n=n: marked(n, response, truth)) for n in "abc"[:count]]


def test_intra_prompts_are_one_of_the_papers_two_kinds() -> None:
    pair, kinds = Pair("Say it.", "yes", "no"), Counter()
    for seed in range(80):
        views = intra_views(pair, Random(seed), _marked(3))
        assert sorted(views) == [f"{s}@intra_{k}" for s in ("chosen", "rejected") for k in ("better", "worse")]
        for side, response in (("chosen", "yes"), ("rejected", "no")):
            better, worse = (views[f"{side}@intra_{k}"] for k in ("better", "worse"))
            assert better.completion == worse.completion == response
            asked = [v.prompt.removeprefix("Say it.\n").split() for v in (better, worse)]
            assert [x[0] for x in asked[0]] == [x[0] for x in asked[1]]  # the same generators in the same order
            signs = ["".join(x[1] for x in words) for words in asked]
            whole = set(signs[0]) == {"+"} and "-" in signs[1]
            none = set(signs[1]) == {"-"} and "+" in signs[0]
            assert whole or none
            kinds[whole, none] += 1
    assert len(kinds) == 3  # a single instruction is both at once


def test_inter_prompts_are_obeyed_by_one_side_only() -> None:
    pair = Pair("Explain boiling.", GOOD, BAD)
    for seed in range(30):
        views = inter_views(pair, Random(seed))
        assert views["chosen@for_chosen"].prompt == views["rejected@for_chosen"].prompt
        assert views["chosen@for_rejected"].prompt != views["chosen@for_chosen"].prompt
        assert (views["chosen@for_rejected"].completion, views["rejected@for_chosen"].completion) == (GOOD, BAD)
    # two equal responses are told apart by nothing
    assert inter_views(Pair("q", GOOD, GOOD), Random(0)) is None
    assert intra_views(Pair("q", "", "x"), Random(0)) is None


def test_instructions_go_to_the_last_turn_of_the_user() -> None:
    one = _marked(1)
    text = Pair("\n\nHuman: hi\n\nAssistant:", " yes", " no")
    prompt = intra_views(text, Random(0), one)["chosen@intra_better"].prompt
    assert prompt == "\n\nHuman: hi\na+\n\nAssistant:"
    said = lambda role, words: {"role": role, "content": words}  # noqa: E731
    talk = Pair([said("system", "be brief"), said("user", "hi")], [said("assistant", "yes")], [said("assistant", "no")])
    told = intra_views(talk, Random(0), one)["rejected@intra_worse"]
    assert told.prompt == [said("system", "be brief"), said("user", "hi\na-")]
    assert told.completion == [said("assistant", "no")]


def test_a_generator_that_breaks_its_promise_is_named() -> None:
    liar = Generator("liar", "x", lambda response, truth, rng: Instruction("lie", lambda text: not truth))
    with pytest.raises(AssentError, match="generator 'liar' made 'lie', which the response fails"):
        liar("yes", True, Random(0))
