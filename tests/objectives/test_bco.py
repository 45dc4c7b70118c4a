"""BCO by hand, and the identities of its sheet."""

from __future__ import annotations

from itertools import pairwise
from math import log, log1p

import pytest
import torch
from singles import singles, slopes
from torch.testing import assert_close

from assent import BCO, DPO, AssentError, BCOPair
from assent.objectives import RunInfo, step_loss
from hand import pair, value
from random_scores import pair_scores


def nls(x: float) -> float:
    return log1p(2.718281828459045**-x)


def test_golden_values() -> None:
    # rewards 2 and 1 liked, -1 disliked: means 1.5 and -1, delta .25; row mean's terms nls(1.75), nls(.75), nls(1.25)
    scores = singles([2.0, 1.0, -1.0], [1.0, 1.0, 0.0])
    loss = BCO(beta=1.0, mean="row")(scores)
    assert loss.tolist() == pytest.approx([nls(1.75), nls(0.75), nls(1.25)], abs=1e-12)
    # the author's shift: (2 + 1 - 1) / 3
    loss = BCO(beta=1.0, mean="row", shift="row")(scores)
    assert loss.tolist() == pytest.approx([nls(4 / 3), nls(1 / 3), nls(5 / 3)], abs=1e-12)
    # class means: half of the liked two plus the disliked one
    total = step_loss(BCO(beta=1.0), scores)
    assert value(total) == pytest.approx((nls(1.75) + nls(0.75)) / 2 + nls(1.25), abs=1e-12)


def test_matching_weighs_disliked_rows_only() -> None:
    scores = singles([2.0, -1.0], [1.0, 0.0], ratio=[5.0, 3.0])
    found = BCO(beta=1.0, mean="row", match="ratio")(scores).tolist()
    assert found == pytest.approx([nls(1.5), 3 * nls(1.5)], abs=1e-12)
    with pytest.raises(AssentError, match="'other' is not in the data"):
        BCO(match="other")(scores)


def test_the_shift_carries_no_gradient() -> None:
    scores = singles([2.0, -1.0], [1.0, 0.0])  # delta .5, both terms at 1.5: sigmoid(-1.5) = .1824255
    assert slopes(BCO(beta=1.0, mean="row")(scores), scores) == pytest.approx(
        [-0.18242552380635635, 0.18242552380635635]
    )


def test_the_running_mean_is_the_same_in_any_grouping() -> None:
    objective, rewards = BCO(beta=1.0, shift="row", mean="row"), [3.0, 1.0, -2.0, 0.5, 4.0, -1.0]
    label = [1.0, 0.0, 1.0, 1.0, 0.0, 0.0]
    states = []
    for cuts in ((0, 6), (0, 1, 4, 6), (0, 3, 6)):
        state = objective.init(RunInfo())
        for a, b in pairwise(cuts):
            state = objective.update(state, objective.sums(singles(rewards[a:b], label[a:b]), state))
        states.append(objective.replace(statistic="previous").delta(singles([0.0], [1.0]), state))
    assert_close(torch.stack(states), torch.full((3,), sum(rewards) / 6, dtype=torch.float64))


def test_decay_forgets_and_previous_waits() -> None:
    objective = BCO(beta=1.0, mean="row", decay=0.5, statistic="previous")
    state = objective.init(RunInfo())
    scores = singles([4.0], [1.0])
    assert objective.couples == "no"
    assert value(objective(scores, state)) == pytest.approx(nls(4.0))  # nothing seen yet: 0
    state = objective.update(state, objective.sums(scores, state))
    assert objective.delta(scores, state).item() == pytest.approx(4.0)  # one class alone leaves its own mean
    state = objective.update(state, objective.sums(singles([1.0], [1.0]), state))
    assert objective.delta(scores, state).item() == pytest.approx((0.5 * 4 + 1) / 1.5)


def test_pairs_are_above_dpo_for_any_shift_and_shift_helps() -> None:
    scores = pair_scores(20, scale=2.0)
    a, b = (0.7 * side.log_ratio.detach() for side in (scores.chosen, scores.rejected))
    dpo = DPO(0.7)(scores)
    for statistic in ("none", "step"):
        objective = BCOPair(beta=0.7, statistic=statistic)
        d = objective.delta(scores, objective.init(RunInfo()))
        identity = torch.log(1 + (b - a).exp() + (d - a).exp() + (b - d).exp())
        assert_close(objective(scores), identity, rtol=1e-12, atol=1e-12)
        assert (objective(scores) > dpo).all()
        assert_close(objective.induced_logit(scores, objective.init(RunInfo())), a - b)
    # pairs' rewards 2, -1: delta .5; 2 nls(1.5)
    assert value(BCOPair(beta=1.0)(pair(2.0, -1.0))) == pytest.approx(2 * nls(1.5), abs=1e-12)
    assert value(BCOPair(beta=1.0)(pair(0.0, 0.0))) == pytest.approx(2 * log(2), abs=1e-12)


def test_the_optimum_divides_by_the_prompts_ratio() -> None:
    """Sheet, identity 6, count weighting: r - delta = log(n+ p+ / (n- W p-)) is where the gradient vanishes."""
    liked, disliked, ratio = 30.0, 10.0, 1.5
    r = log(liked / (disliked * ratio))
    scores = singles([r, r], [1.0, 0.0], weight=[liked, disliked], ratio=[ratio, ratio])
    loss = step_loss(BCO(beta=1.0, mean="row", match="ratio", statistic="none"), scores)
    assert sum(slopes(loss, scores)) == pytest.approx(0.0, abs=1e-12)


def test_ranges() -> None:
    for wrong in ({"beta": -1.0}, {"shift": "all"}, {"decay": 1.5}, {"match": ""}, {"statistic": "never"}):
        with pytest.raises(AssentError, match=next(iter(wrong))):
            BCO(**wrong)
    with pytest.raises(AssentError, match="class means need the whole step"):
        BCO(statistic="previous")
    with pytest.raises(AssentError, match="bco_pair: beta"):
        BCOPair(beta=0.0)
