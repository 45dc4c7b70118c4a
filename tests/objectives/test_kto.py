"""KTO by hand."""

from __future__ import annotations

from math import exp

import pytest
import torch
from singles import singles, slopes

from assent import KTO, AssentError
from assent.objectives import RunInfo


def sigmoid(x: float) -> float:
    return 1 / (1 + exp(-x))


def test_golden_values() -> None:
    # log-ratios 3 and -1: z0 = 1; beta .5: liked .5 (3 - 1) = 1, disliked .5 (-1 - 1) = -1, both 1 - sigmoid(1) = .2689414
    loss = KTO(beta=0.5)(singles([3.0, -1.0], [1.0, 0.0]))
    assert loss.tolist() == pytest.approx([0.2689414213699951, 0.2689414213699951], abs=1e-12)
    # log-ratios -3 and 1: the mean -1 is cut at 0; liked 1 - sigmoid(-1.5), disliked 1 - sigmoid(-.5)
    loss = KTO(beta=0.5, lam_d=2.0)(singles([-3.0, 1.0], [1.0, 0.0]))
    assert loss.tolist() == pytest.approx([2 * 0.8175744761936437, 0.6224593312018546], abs=1e-12)


def test_the_common_point_carries_no_gradient() -> None:
    # beta sigmoid' with z0 held at 1: -.5 s(1) s(-1) for the liked one, + for the disliked one
    scores = singles([3.0, -1.0], [1.0, 0.0])
    size = 0.5 * sigmoid(1.0) * sigmoid(-1.0)
    assert slopes(KTO(beta=0.5)(scores), scores) == pytest.approx([-size, size], abs=1e-12)
    start = singles([0.0, 0.0], [1.0, 0.0])
    assert slopes(KTO(beta=0.1)(start), start) == pytest.approx([-0.025, 0.025], abs=1e-12)  # beta / 4


def test_row_weights_count_in_the_common_point() -> None:
    # weights 3 and 1 on log-ratios 1 and -1: z0 = .5
    loss = KTO(beta=1.0)(singles([1.0, -1.0], [1.0, 1.0], weight=[3.0, 1.0]))
    assert loss.tolist() == pytest.approx([sigmoid(-0.5), sigmoid(1.5)], abs=1e-12)


def test_previous_takes_the_point_of_the_step_before() -> None:
    objective, scores = KTO(beta=1.0, statistic="previous"), singles([3.0, -1.0], [1.0, 0.0])
    state = objective.init(RunInfo())
    assert objective.couples == "no"
    assert objective(scores, state).tolist() == pytest.approx([sigmoid(-3.0), sigmoid(-1.0)], abs=1e-12)
    state = objective.update(state, objective.sums(scores, state))
    assert state["mean"].item() == pytest.approx(1.0)
    assert objective(scores, state).tolist() == pytest.approx([sigmoid(-2.0), sigmoid(-2.0)], abs=1e-12)
    nothing = {name: torch.zeros_like(value) for name, value in objective.sums(scores, state).items()}
    assert objective.update(state, nothing)["mean"].item() == pytest.approx(1.0)


def test_the_authors_point_is_read_from_mismatched_completions() -> None:
    scores = singles([3.0, -1.0], [1.0, 0.0], mismatched=[0.5, 1.5])
    loss = KTO(beta=1.0, z="mismatched")(scores)
    assert loss.tolist() == pytest.approx([sigmoid(-2.0), sigmoid(-2.0)], abs=1e-12)
    assert {str(need) for need in KTO(z="mismatched").needs} == {"reference", "view 'mismatched'"}


def test_ranges() -> None:
    for wrong in ({"beta": 0.0}, {"lam_d": -1.0}, {"z": "batch"}, {"statistic": "last"}):
        with pytest.raises(AssentError, match=next(iter(wrong))):
            KTO(**wrong)
