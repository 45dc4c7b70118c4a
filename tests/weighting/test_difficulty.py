"""Difficulty by hand: what the reference makes of a pair."""

from __future__ import annotations

from math import exp

import pytest
import torch

from assent import DPO, AssentError, DifficultyCurriculum, DifficultyFilter, DifficultyWeight, SimPO, parse
from assent.objectives import RunInfo
from assent.weighting.difficulty import difficulty
from hand import pair, value


def _pair(c: float) -> object:
    """A pair that the reference ranks wrongly by c nats."""
    return pair(1.0, -1.0, ref=(0.0, c))


def test_golden_values() -> None:
    scores = _pair(6.0)
    assert value(difficulty(scores)) == 6.0
    plain = value(DPO(0.1)(scores))
    assert value(DifficultyWeight(DPO(0.1), scale=3.0)(scores)) == pytest.approx(plain / (1 + exp(2)), abs=1e-12)
    assert value(DifficultyFilter(DPO(0.1), most=6.0)(scores)) == plain
    assert value(DifficultyFilter(DPO(0.1), most=5.9)(scores)) == 0.0


def test_the_curriculum_reaches_a_pair_when_its_step_comes() -> None:
    objective, scores = DifficultyCurriculum(DPO(0.1), start=1.0, pace=2.0), _pair(6.0)
    state, seen = objective.init(RunInfo()), []
    for _ in range(5):
        seen.append(value(objective(scores, state)) > 0)
        state = objective.update(state, {})
    # 1, 3, 5, 7, 9
    assert seen == [False, False, False, True, True]
    assert torch.equal(objective.init(RunInfo())["step"], torch.tensor(0))


def test_state_of_the_base_goes_along() -> None:
    objective = parse("difficulty_curriculum(sampo())")
    state = objective.update(objective.init(RunInfo()), {})
    assert {name: int(v) for name, v in state.items()} == {"step": 1, "base.step": 1}


def test_inside_lcpo_a_pair_left_out_moves_nothing() -> None:
    objective, scores = parse("lcpo(difficulty_filter(dpo(), most=0.0))"), _pair(6.0)
    slope = torch.autograd.grad(objective(scores).sum(), scores.chosen.logp, allow_unused=True, materialize_grads=True)
    assert slope[0].item() == 0.0


def test_a_reference_is_needed_by_name() -> None:
    scores = pair(1.0, 0.0)
    from dataclasses import replace

    blind = replace(scores, chosen=replace(scores.chosen, ref_logp=None))
    with pytest.raises(AssentError, match="no ref_logp"):
        DifficultyWeight(SimPO())(blind)
    assert "reference" in {need.kind for need in DifficultyWeight(SimPO()).needs}
