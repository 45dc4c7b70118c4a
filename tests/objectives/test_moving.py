"""When and how far a moving reference moves."""

from __future__ import annotations

import pytest
import torch

from assent import DPO, AssentError, MovingReference, parse
from assent.objectives import RunInfo
from assent.objectives.moving import MOVING
from hand import pair, value


def test_it_moves_by_its_share_every_so_many_steps() -> None:
    objective = MovingReference(DPO(), share=0.6, every=3)
    state, shares = objective.init(RunInfo()), []
    assert objective.share_after(state) == 0.0  # not before the first step
    sums = objective.sums(pair(1.0, 0.0), state)
    assert sums["weight"].item() == 1.0  # a trainer moves no state of an objective that sums nothing
    for _ in range(7):
        state = objective.update(state, sums)
        shares.append(objective.share_after(state))
    assert shares == [0.0, 0.0, 0.6, 0.0, 0.0, 0.6, 0.0]
    resumed = {name: tensor.clone() for name, tensor in state.items()}
    assert int(objective.update(resumed, {})["step"]) == 8


def test_a_reference_that_moved_all_the_way_gives_the_start_again() -> None:
    # the reference becomes the policy: the loss is ln 2 again, as in the paper's hard update
    policy, reference, share = torch.tensor([2.0, -1.0]), torch.tensor([0.5, 0.25]), 1.0
    moved = share * policy + (1 - share) * reference
    scores = pair(*policy.tolist(), ref=tuple(moved.tolist()))
    assert value(parse("tr_dpo(share=1.0)")(scores)) == pytest.approx(0.6931471805599453)


def test_its_need_is_named_and_its_base_keeps_its_state() -> None:
    objective = parse("moving_reference(beta_dpo(drop=0.0), every=2)")
    assert MOVING in objective.needs and str(MOVING) == "moving_reference"
    assert objective.couples == "statistic"
    state, scores = objective.init(RunInfo()), pair(3.0, 1.0)
    state = objective.update(state, objective.sums(scores, state))
    assert state["base.mean"].item() == pytest.approx(0.2) and int(state["base.step"]) == 1


def test_bad_input() -> None:
    with pytest.raises(AssentError, match="reads no reference"):
        parse("moving_reference(simpo())")
    for field, wrong in (("share", 0.0), ("share", 1.5), ("every", 0)):
        with pytest.raises(AssentError, match=f"moving_reference: {field}"):
            MovingReference(DPO(), **{field: wrong})
    with pytest.raises(AssentError, match="called every"):
        parse("tr_dpo(ref_model_sync_steps=512)")
