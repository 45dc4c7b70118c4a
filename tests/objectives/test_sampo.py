"""SamPO by hand, and what its draws are."""

from __future__ import annotations

from math import exp, log1p

import pytest
import torch

from assent import DPO, SamPO
from assent.objectives import RunInfo
from hand import value
from hand_tokens import side, token_pair, token_slopes


def _pair() -> object:
    return token_pair(side([1.0, 2.0, 3.0, 4.0]), side([-1.0, -2.0]))


def test_golden_values() -> None:
    # the whole shorter side, and two tokens of the longer one, read off the mask of the draws
    scores, objective = _pair(), SamPO(0.1)
    chosen, rejected = objective.kept(scores, objective.init(RunInfo()))
    assert rejected.tolist() == [1.0, 1.0] and chosen.sum().item() == 2.0
    total = (chosen * torch.tensor([1.0, 2.0, 3.0, 4.0])).sum().item()
    assert value(objective(scores)) == pytest.approx(log1p(exp(-0.1 * (total + 3.0))), abs=1e-12)
    # equal lengths are DPO: h = 3 - (-3) = 6
    equal = token_pair(side([1.0, 2.0]), side([-1.0, -2.0]))
    assert value(objective(equal)) == value(DPO(0.1)(equal)) == pytest.approx(log1p(exp(-0.6)), abs=1e-12)


def test_tokens_not_drawn_get_no_gradient() -> None:
    scores, objective = _pair(), SamPO(0.1)
    kept, _ = objective.kept(scores, objective.init(RunInfo()))
    chosen, _ = token_slopes(scores, objective(scores))
    assert [x != 0 for x in chosen] == [x == 1 for x in kept.tolist()]


def test_every_token_is_drawn_equally_often_over_the_steps() -> None:
    scores, objective = _pair(), SamPO()
    state, total = objective.init(RunInfo()), torch.zeros(4, dtype=torch.float64)
    for _ in range(2000):
        total += objective.kept(scores, state)[0]
        state = objective.update(state, {})
    # each token is kept half the time; 1000 +- 4.5 standard deviations of 22.4
    assert int(state["step"]) == 2000 and ((total - 1000).abs() < 100).all()


def test_a_resumed_state_draws_what_the_run_would_have_drawn() -> None:
    scores, objective = _pair(), SamPO()
    losses = [value(objective(scores, {"step": torch.tensor(step)})) for step in range(6)]
    assert losses == [value(objective(scores, {"step": torch.tensor(step)})) for step in range(6)]
    assert len(set(losses)) > 1


def test_swapped_pairs_draw_the_same_tokens() -> None:
    scores, objective = _pair(), SamPO()
    state = objective.init(RunInfo())
    assert [x.tolist() for x in objective.kept(scores.swapped(), state)][::-1] == [
        x.tolist() for x in objective.kept(scores, state)
    ]
