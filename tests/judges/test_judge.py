"""Judges without a network: values by hand, order of presentation, missing and impossible answers, what is counted."""

from __future__ import annotations

import math

import numpy as np
import pytest

from assent import AssentError
from assent.judges import AnnotatorPool, Judge, Majority, PairwiseJudge, ScalarJudge, ask

PROMPTS = ["p"] * 4
A, B = ["aaa", "b", "cc", "d"], ["a", "bb", "cc", "ddd"]
LENGTH = ScalarJudge(lambda prompts, completions: [len(c) for c in completions], "length")


class Says(Judge):
    """A judge of given answers."""

    def __init__(self, *answers: float) -> None:
        self.answers, self.name = answers, "says"

    def prefer(self, prompts, a, b):
        return np.array(self.answers)


def test_scores_become_bradley_terry_by_hand() -> None:
    # gaps 2, -1, 0, -2
    expected = [1 / (1 + math.exp(-x)) for x in (2, -1, 0, -2)]
    assert LENGTH.prefer(PROMPTS, A, B).tolist() == pytest.approx(expected, abs=1e-15)
    sure = ScalarJudge(LENGTH.function, temperature=0.0)
    assert sure.prefer(PROMPTS, A, B).tolist() == [1.0, 0.0, 0.5, 0.0]
    half = ScalarJudge(LENGTH.function, temperature=2.0)
    assert half.prefer(PROMPTS, A, B)[0] == pytest.approx(1 / (1 + math.exp(-1)), abs=1e-15)
    huge = ScalarJudge(lambda prompts, completions: [1e4 * len(c) for c in completions])
    assert huge.prefer(PROMPTS, A, B).tolist() == [1.0, 0.0, 0.5, 0.0]


@pytest.mark.parametrize(
    "judge",
    [
        LENGTH,
        PairwiseJudge(lambda prompts, a, b: [0.9] * len(a)),
        PairwiseJudge(lambda prompts, a, b: [0.5 + 0.4 * (x > y) for x, y in zip(a, b, strict=True)]),
        Majority((LENGTH, PairwiseJudge(lambda prompts, a, b: [0.25] * len(a), both=True), Says(0.5, 0.5, 0.5, 0.5))),
        AnnotatorPool(LENGTH, {"anna": 0.9, "ben": 0.6}, labels=2),
    ],
)
def test_the_order_of_presentation_changes_no_decision(judge: Judge) -> None:
    there, back = judge.prefer(PROMPTS, A, B), judge.prefer(PROMPTS, B, A)
    np.testing.assert_allclose(there, 1 - back, atol=1e-15)


def test_a_judge_that_always_takes_the_first_is_a_tie_and_counted() -> None:
    judge = PairwiseJudge(lambda prompts, a, b: [0.9] * len(a))
    assert ask(judge, PROMPTS, A, B).p.tolist() == [0.5] * 4 and judge.tally.contradicted == 4
    leaning = PairwiseJudge(
        lambda prompts, a, b: [0.9 if x == "aaa" or y != "a" else 0.4 for x, y in zip(a, b, strict=True)]
    )
    found = ask(leaning, PROMPTS[:1], A[:1], B[:1])
    assert found.p.tolist() == pytest.approx([(0.9 + 0.1) / 2]) or found.tally.contradicted == 1


def test_missing_answers_are_counted_and_impossible_ones_refused() -> None:
    nan = float("nan")
    found = ask(Says(1.0, nan, 0.25, nan), PROMPTS, A, B)
    assert found.p.tolist() == [1.0, 0.5, 0.25, 0.5] and found.known.tolist() == [True, False, True, False]
    assert (found.tally.asked, found.tally.failed) == (4, 2)
    with pytest.raises(AssentError, match=r"gave 1\.5 as a probability"):
        ask(Says(1.5, 0.0, 0.0, 0.0), PROMPTS, A, B)
    with pytest.raises(AssentError, match=r"answers of shape \(2,\) to 4 questions"):
        ask(Says(1.0, 0.0), PROMPTS, A, B)
    with pytest.raises(AssentError, match="4 prompts, 4 and 1 completions"):
        ask(LENGTH, PROMPTS, A, B[:1])
    with pytest.raises(AssentError, match="infinite score"):
        ask(ScalarJudge(lambda prompts, completions: [math.inf] * len(completions)), PROMPTS, A, B)
    with pytest.raises(AssentError, match="compares two completions and scores none alone"):
        Says(1.0).score(PROMPTS, A)
    with pytest.raises(AssentError, match="temperature is -1"):
        ScalarJudge(LENGTH.function, temperature=-1)


def test_a_majority_counts_votes_and_disagreement() -> None:
    judge = Majority((Says(1.0, 0.9, 0.0, 0.5), Says(1.0, 0.6, 1.0, 0.5), Says(0.0, float("nan"), 1.0, 0.5)))
    found = ask(judge, PROMPTS, A, B)
    assert found.p.tolist() == pytest.approx([2 / 3, 1.0, 2 / 3, 0.5]) and judge.tally.contradicted == 2
    mean = Majority(judge.judges, mean=True)
    assert ask(mean, PROMPTS, A, B).p.tolist() == pytest.approx([2 / 3, 0.75, 2 / 3, 0.5])
    with pytest.raises(AssentError, match="majority of 1 judges"):
        Majority((LENGTH,))


def test_a_pool_has_the_reliabilities_that_it_was_given() -> None:
    reliability = {"anna": 0.95, "ben": 0.6, "cleo": 0.25}
    pool = AnnotatorPool(ScalarJudge(LENGTH.function, temperature=0.0), reliability, labels=3, seed=4)
    n = 4000
    prompts, a, b = [f"p{i}" for i in range(n)], ["aa"] * n, ["b"] * n
    labels = pool.label(prompts, a, b)
    for place, (name, r) in enumerate(sorted(reliability.items())):
        share = np.mean([found[place].p for found in labels])
        assert labels[0][place].annotator == name and abs(share - r) < 4 * math.sqrt(r * (1 - r) / n)
    assert pool.label(prompts[:9], a[:9], b[:9]) == labels[:9], "a pair is judged alike whenever it is asked for"
    assert AnnotatorPool(pool.truth, reliability, seed=5, labels=3).label(prompts, a, b) != labels


def test_one_truth_per_pair_and_a_share_judged_twice() -> None:
    truth = PairwiseJudge(lambda prompts, a, b: [0.5] * len(a))
    pool = AnnotatorPool(truth, {"anna": 1.0, "ben": 1.0}, twice=0.2)
    n = 3000
    labels = pool.label([f"p{i}" for i in range(n)], ["x"] * n, ["y"] * n)
    several = [found for found in labels if len(found) == 2]
    assert abs(len(several) / n - 0.2) < 0.03 and all(len({label.p for label in found}) == 1 for found in several)
    assert abs(np.mean([found[0].p for found in labels]) - 0.5) < 0.04, "the latent order is drawn from the truth"
    nobody = AnnotatorPool(Says(float("nan")), {"anna": 0.9})
    assert nobody.label(["p"], ["a"], ["b"]) == [()] and ask(nobody, ["p"], ["a"], ["b"]).tally.failed == 1
    with pytest.raises(AssentError, match="expected at least one number in"):
        AnnotatorPool(truth, {"anna": 1.5})
    with pytest.raises(AssentError, match="gives 3 labels a pair"):
        AnnotatorPool(truth, {"anna": 0.5}, labels=3)
