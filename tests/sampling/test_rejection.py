"""Statistical rejection sampling: the law of what is accepted, its limits, and what a group keeps."""

from __future__ import annotations

import numpy as np
import pytest

from assent import AssentError
from assent.sampling.judged import Counts, Judged, PairingRule, draft
from assent.sampling.rejection import Rejection, accept, chances, reject

SCORES = np.array([0.3, -1.0, 2.0, 0.9, 1.5, -0.2])


def test_chances_by_hand():
    np.testing.assert_allclose(chances(np.array([0.0, 1.0, 0.5]), 0.5), [np.exp(-2), 1.0, np.exp(-1)])
    assert chances(np.array([0.0, 1.0, 1.0]), 0.0).tolist() == [0.0, 1.0, 1.0]


@pytest.mark.parametrize("temperature", [0.0, 1e-6])
def test_cold_is_the_best(temperature):
    for seed in range(50):
        assert accept(SCORES, Rejection(3, temperature), np.random.default_rng(seed)) == [2, 4, 3]


def test_hot_takes_what_comes_first():
    order = np.random.default_rng(7).permutation(6).tolist()
    assert accept(SCORES, Rejection(4, 1e9), np.random.default_rng(7)) == order[:4]


def test_fewer_candidates_than_places_are_all_kept():
    assert sorted(accept(SCORES, Rejection(9, 0.5), np.random.default_rng(0))) == list(range(6))


def test_a_shift_or_a_change_of_unit_changes_nothing():
    for seed in range(20):
        told = accept(SCORES, Rejection(3, 0.5), np.random.default_rng(seed))
        assert told == accept(4 * SCORES + 8, Rejection(3, 2.0), np.random.default_rng(seed))


def test_law_of_the_first_accepted():
    """Two candidates, keep 2: the worse is first when it passes and stands first, else the best is."""
    rule, worse = Rejection(2, 0.5), np.exp(-1.0)
    first = [accept([0.0, 0.5], rule, np.random.default_rng(s))[0] for s in range(4000)]
    expected = 0.5 * worse
    assert abs(np.mean(np.array(first) == 0) - expected) < 3 * np.sqrt(expected * (1 - expected) / 4000)


def group(texts, scores) -> Judged:
    usable = np.array([bool(t) for t in texts])
    return Judged("x", tuple(texts), usable, np.array(scores, dtype=float), np.full(len(texts), np.nan))


def test_a_group_keeps_the_accepted_and_repeated_texts_once():
    found, counts = group(["a", "b", "a", "", "c", "d"], [1.0, 3.0, 1.0, np.nan, np.nan, 2.0]), Counts()
    reject([found], Rejection(2, 0.0), 0, counts)
    assert found.usable.tolist() == [False, True, False, False, False, True] and counts.rejected == 3
    assert found.score[0] == 1.0, "what was rejected keeps its score"


def test_disjoint_pairs_use_every_completion_once():
    from assent.judges import ScalarJudge

    found, counts = group([*"abcdefg"], range(7)), Counts()
    draft(ScalarJudge(lambda p, c: [float(ord(t)) for t in c]), [found], PairingRule("disjoint"), 3, counts)
    sides = [k for pair in found.pairs for k in (pair.chosen, pair.rejected)]
    assert counts.pairs == 3 and len(set(sides)) == 6 and all(p.chosen > p.rejected for p in found.pairs)


@pytest.mark.parametrize(
    ("text", "words"), [("8", "KEEP:TEMP"), ("a:1", "KEEP:TEMP"), ("1:1", "keeps 1"), ("4:-1", "-1.0")]
)
def test_what_cannot_be_read_is_refused(text, words):
    with pytest.raises(AssentError, match=words):
        Rejection.parse(text)
