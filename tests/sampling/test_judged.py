"""Bad answers and bad completions inside a round: what is asked, what becomes a pair, and what is counted instead."""

from __future__ import annotations

import numpy as np
import pytest

from assent import AssentError
from assent.judges import Judge, PairwiseJudge, ScalarJudge
from assent.sampling.judged import Counts, PairingRule, draft, judged

NAN = float("nan")


class Scores(Judge):
    """Scores of given texts, NaN for others; remembers what it was asked."""

    scored = True

    def __init__(self, **known: float) -> None:
        self.known, self.name, self.asked = known, "scores", []

    def score(self, prompts, completions):
        self.asked += completions
        return np.array([self.known.get(text.strip(), NAN) for text in completions])

    def prefer(self, prompts, a, b):
        gap = self.score(prompts, a) - self.score(prompts, b)
        return np.where(np.isnan(gap), NAN, 0.5 * (1 + np.sign(gap)))


def drafted(judge: Judge, texts: list[str], pairs: str = "best_worst") -> tuple[list[tuple[str, str]], Counts]:
    groups, counts = judged(judge, ["p"], [texts]), Counts()
    draft(judge, groups, PairingRule(pairs), 0, counts)
    return [(texts[pair.chosen], texts[pair.rejected]) for pair in groups[0].pairs], counts


def test_empty_completions_are_never_asked_about() -> None:
    judge = Scores(a=1.0, b=2.0)
    pairs, counts = drafted(judge, ["", " a", " \n", "b"])
    assert pairs == [("b", " a")] and counts.pairs == 1 and "" not in judge.asked and " \n" not in judge.asked
    assert drafted(judge, ["", " "])[1].prompts_without_pair == 1
    assert drafted(judge, ["a", "a", ""])[1].prompts_without_pair == 1, "the same text twice is no pair"


def test_completions_without_a_score_are_passed_over() -> None:
    judge = Scores(a=1.0, b=2.0)
    groups = judged(judge, ["p"], [["a", "unknown", "b"]])
    assert np.isnan(groups[0].score).tolist() == [False, True, False]
    assert drafted(judge, ["a", "unknown", "b"])[0] == [("b", "a")]
    pairs, counts = drafted(judge, ["a", "unknown"], "random")
    assert pairs == [] and (counts.unanswered, counts.prompts_without_pair) == (1, 1)


def test_a_judge_that_contradicts_itself_gives_no_pair_but_a_count() -> None:
    judge = PairwiseJudge(lambda prompts, a, b: [0.9] * len(a))
    pairs, counts = drafted(judge, ["a", "b"], "random")
    assert pairs == [] and counts.ties == 1 and judge.tally.contradicted > 0
    silent = PairwiseJudge(lambda prompts, a, b: [NAN] * len(a))
    pairs, counts = drafted(silent, ["a", "b", "c"], "random")
    assert pairs == [] and counts.unanswered == 1
    groups = judged(silent, ["p"], [["a", "b", "c"]])
    assert groups[0].win_rate.tolist() == [0.5] * 3, "itself alone"
    sure = ScalarJudge(lambda prompts, completions: [float(len(c)) for c in completions], temperature=0.0)
    assert drafted(sure, ["aa", "bb"], "random")[1].ties == 1


@pytest.mark.parametrize("answer", [1.5, -0.1])
def test_what_is_no_probability_is_refused(answer: float) -> None:
    judge = PairwiseJudge(lambda prompts, a, b: [answer] * len(a), both=False)
    with pytest.raises(AssentError, match="as a probability; expected a number in"):
        drafted(judge, ["a", "b"], "random")
