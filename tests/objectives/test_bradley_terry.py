"""Bradley-Terry by hand."""

from __future__ import annotations

from dataclasses import replace
from math import exp, log1p

import pytest
import torch

from assent import LCPO, AssentError, BradleyTerry, PairScores, parse
from assent.scores import Scores
from hand import pair, value


def rewarded(chosen: float, rejected: float, dtype: torch.dtype = torch.float64) -> PairScores:
    """One pair with these rewards; its log-probabilities are NaN, as nothing may read them."""
    nothing = torch.full((1,), torch.nan, dtype=dtype)
    sides = [
        Scores(nothing, columns={"reward": torch.tensor([r], dtype=dtype, requires_grad=True)})
        for r in (chosen, rejected)
    ]
    return PairScores(*sides)


def slopes(scores: PairScores) -> list[float]:
    rewards = [side.columns["reward"] for side in (scores.chosen, scores.rejected)]
    return [g.item() for g in torch.autograd.grad(BradleyTerry()(scores).sum(), rewards)]


def test_golden_values() -> None:
    # r_w = 2, r_l = -1: log(1 + e^-3)
    assert value(BradleyTerry()(rewarded(2.0, -1.0))) == pytest.approx(log1p(exp(-3)), abs=1e-15)
    assert value(BradleyTerry()(rewarded(-1.0, 2.0))) == pytest.approx(3 + log1p(exp(-3)), abs=1e-14)
    soft = replace(rewarded(2.0, -1.0), target=torch.tensor([0.25], dtype=torch.float64))
    assert value(BradleyTerry()(soft)) == pytest.approx(0.75 * 3 + log1p(exp(-3)), abs=1e-14)


def test_slopes_are_the_chance_of_the_other_order() -> None:
    wrong = 1 / (1 + exp(3))
    assert slopes(rewarded(2.0, -1.0)) == pytest.approx([-wrong, wrong], abs=1e-15)
    assert slopes(rewarded(102.0, 99.0)) == pytest.approx([-wrong, wrong], abs=1e-15), "only the gap counts"


@pytest.mark.parametrize("gap", [-1e4, 1e4])
def test_huge_gaps_are_finite(gap: float) -> None:
    scores = rewarded(gap, 0.0, torch.float32)
    assert value(BradleyTerry()(scores)) == pytest.approx(max(0.0, -gap))
    assert slopes(scores) == pytest.approx([-float(gap < 0), float(gap < 0)])


def test_lcpo_reads_the_rewards() -> None:
    scores = rewarded(2.0, -1.0)
    wrapped = LCPO(BradleyTerry(), reliability=0.8)
    # posterior odds of the stored order: e^3 x .8 / .2
    assert wrapped.posterior(scores).item() == pytest.approx(1 / (1 + exp(-3) / 4), abs=1e-12)


def test_what_is_missing_or_another_tools_is_said() -> None:
    with pytest.raises(AssentError, match="column 'reward'"):
        BradleyTerry()(pair(1.0, 0.0))
    with pytest.raises(AssentError, match="the scale of a reward model's scores is learned"):
        parse("bradley_terry(beta=0.1)")
