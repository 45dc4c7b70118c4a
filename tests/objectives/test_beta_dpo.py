"""beta-DPO by hand: the step's beta, its moving mean, and the filter's draws."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from oracle import nls, sigmoid
from torch.testing import assert_close

from assent import DPO, AssentError, BetaDPO, PairScores, Scores
from assent.objectives import RunInfo, step_loss
from random_scores import pair_scores

F64 = torch.float64


def gaps(values: list[float]) -> PairScores:
    zero = torch.zeros(len(values), dtype=F64)
    return PairScores(Scores(torch.tensor(values, dtype=F64).requires_grad_(), zero), Scores(zero.clone(), zero))


def test_golden_values() -> None:
    # h = 3, 1: mean 2, M = .1 x 2 = .2, b = .1 (1 + .6 (2 - .2)) = .208
    loss = BetaDPO(drop=0.0)(gaps([3.0, 1.0]))
    assert loss.tolist() == pytest.approx([nls(0.624), nls(0.208)], abs=1e-12)
    # h = -40, -20: b = .1 (1 + .6 (-30 + 3)) < 0, floored at .001
    assert BetaDPO(drop=0.0)(gaps([-40.0, -20.0])).tolist() == pytest.approx([nls(-0.04), nls(-0.02)], abs=1e-12)


def test_state_moves_once_a_step_before_use() -> None:
    objective, scores = BetaDPO(drop=0.0), gaps([3.0, 1.0])
    state = objective.update(objective.init(RunInfo()), objective.sums(scores, objective.init(RunInfo())))
    assert (state["mean"].item(), state["deviation"].item()) == pytest.approx((0.2, 0.1), abs=1e-12)
    assert int(state["step"]) == 1
    # M = .9 x .2 + .1 x 2 = .38; b = .1 (1 + .6 x 1.62) = .1972
    assert objective(scores, state)[1].item() == pytest.approx(nls(0.1972), abs=1e-12)


def test_beta_carries_no_gradient() -> None:
    scores = gaps([3.0, 1.0])
    found = torch.autograd.grad(BetaDPO(drop=0.0)(scores).sum(), scores.chosen.logp)[0].tolist()
    assert found == pytest.approx([-0.208 * sigmoid(-0.624), -0.208 * sigmoid(-0.208)], abs=1e-12)


def test_the_start_has_no_zero_over_zero() -> None:
    scores = gaps([0.0] * 5)  # the sheet's trap: h = M = S = 0
    loss = BetaDPO()(scores)
    assert torch.isfinite(loss).all() and step_loss(BetaDPO(), scores).item() == pytest.approx(0.6931471805599453)


def test_the_filter_keeps_its_share_and_prefers_usual_pairs() -> None:
    scores = gaps([0.0, 0.1, -0.1, 0.2, -0.2, 0.05, 0.15, -0.05, 0.12, 30.0])
    objective = BetaDPO(momentum=0.0)
    state, out = objective.init(RunInfo()), torch.zeros(10, dtype=F64)
    for step in range(400):
        kept = objective.kept(scores, state | {"step": torch.tensor(step)})
        assert int((kept > 0).sum()) == 8 and kept.sum().item() == pytest.approx(10.0)
        out += kept == 0
    # S = 8.99, M = 3.03: the far pair has weight exp(-4.5), the others about exp(-.06): it is left out nearly always
    assert out[9] > 380 and out[:9].max() < 80
    again = [objective.kept(scores, state) for _ in range(2)]
    assert_close(*again)
    assert not torch.equal(objective.replace(seed=1).kept(scores, state), again[0])


def test_the_draw_is_that_of_weights_without_replacement() -> None:
    # two pairs of weights exp(-1/2) each at M = 0: with momentum 0 and h = 1, 0 of weights 1 and 1 they are equal
    objective, scores = BetaDPO(momentum=0.0, drop=0.5), gaps([1.0, 0.0])
    first = sum(
        float(objective.kept(scores, objective.init(RunInfo()) | {"step": torch.tensor(s)})[0] > 0) for s in range(1000)
    )
    assert 440 < first < 560
    # h = 2, 0, 0 and M, S = 2/3, .943: weights e^-1, e^-.25, e^-.25; the first of one kept has .3679 / (.3679 + 1.5576)
    objective, scores = BetaDPO(momentum=0.0, drop=0.6), gaps([2.0, 0.0, 1e-9])
    first = sum(
        float(objective.kept(scores, objective.init(RunInfo()) | {"step": torch.tensor(s)})[0] > 0) for s in range(2000)
    )
    assert first / 2000 == pytest.approx(0.191, abs=0.035)


def test_the_kept_pairs_stand_for_all_whatever_the_order() -> None:
    scores, objective = pair_scores(10, weight=True), BetaDPO()
    kept = objective.kept(scores, objective.init(RunInfo()))
    b = objective.step_beta(scores, objective.init(RunInfo()))
    inside = (kept > 0) * scores.weight
    expected = (inside * DPO(float(b))(scores)).sum() / inside.sum()
    assert_close(step_loss(objective, scores), expected)
    order = torch.randperm(10, generator=torch.Generator().manual_seed(1))
    side = lambda s: Scores(s.logp[order], s.ref_logp[order])  # noqa: E731
    moved = PairScores(side(scores.chosen), side(scores.rejected), weight=scores.weight[order])
    assert_close(objective.kept(moved, objective.init(RunInfo())), kept[order])


def test_both_orders_of_a_pair_have_one_beta_and_one_fate() -> None:
    target = torch.tensor([1.0, 0.0, 0.7, 1.0, 0.2], dtype=F64)
    scores, objective = replace(pair_scores(5), target=target), BetaDPO()
    state = objective.init(RunInfo())
    kept = objective.kept(scores, state)
    assert_close(objective.kept(scores.swapped(), state), kept)
    b = objective.step_beta(scores, state)
    assert_close(objective.induced_logit(scores, state), kept * b * scores.log_ratio_gap)


def test_ranges() -> None:
    for field, wrong in (("beta", 0.0), ("a", -1.0), ("drop", 1.0), ("momentum", 1.0), ("seed", -1)):
        with pytest.raises(AssentError, match=f"beta_dpo: {field}"):
            BetaDPO(**{field: wrong})
