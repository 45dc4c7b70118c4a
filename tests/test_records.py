"""Records: what a row means."""

from __future__ import annotations

import pytest

from assent.errors import AssentError
from assent.records import Example, Group, Label, Pair


def test_target_is_the_weighted_share_of_the_labels() -> None:
    pair = Pair("q", "a", "b", (Label("anna", 1.0, 2.0), Label("ben", 0.0, 1.0), Label("cleo", 0.5, 1.0)))
    assert pair.weight == 4.0
    assert pair.target == pytest.approx((2.0 + 0.0 + 0.5) / 4.0)


def test_weightless_pairs_are_ties() -> None:
    assert Pair("q", "a", "b", (Label(weight=0.0),)).target == 0.5


def test_swapping_twice_gives_the_pair_back() -> None:
    pair = Pair("q", "a", "b", (Label("anna", 0.75),), "q2", 2.0, 5.0, 3.0, "because", -1.5, {"n": 1})
    swapped = pair.swapped()
    assert (swapped.prompt, swapped.rejected_prompt) == ("q2", "q")
    assert (swapped.chosen, swapped.margin, swapped.logit, swapped.score_chosen) == ("b", -2.0, 1.5, 3.0)
    assert swapped.labels[0].p == 0.25
    assert swapped.swapped() == pair


@pytest.mark.parametrize("p", [-0.1, 1.1, float("nan")])
def test_probabilities_are_probabilities(p: float) -> None:
    with pytest.raises(AssentError, match="between 0 and 1"):
        Label(p=p)


@pytest.mark.parametrize("weight", [-1.0, float("nan"), float("inf")])
def test_weights_are_finite_and_not_negative(weight: float) -> None:
    with pytest.raises(AssentError, match="weight"):
        Example("q", "a", weight=weight)


def test_groups_need_two_completions_and_as_many_scores() -> None:
    with pytest.raises(AssentError, match="at least two"):
        Group("q", ("a",), (1.0,))
    with pytest.raises(AssentError, match="2 completions and 3 scores"):
        Group("q", ("a", "b"), (1.0, 2.0, 3.0))
