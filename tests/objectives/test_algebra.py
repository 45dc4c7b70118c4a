"""Sums and multiples: each term is reduced by its own mean."""

from __future__ import annotations

import pytest
import torch

from assent import DPO, SFT, AssentError, PairScores, Scores, parse
from assent.objectives import step_loss

S = lambda *x: torch.tensor(x, dtype=torch.float64)  # noqa: E731


def test_a_step_adds_the_terms_by_their_own_means() -> None:
    side = lambda logp, n: Scores(S(*logp), S(0.0, 0.0), S(*n))  # noqa: E731
    scores = PairScores(side((-6.0, -2.0), (3.0, 4.0)), side((-6.0, -2.0), (1.0, 1.0)))
    both = step_loss(DPO(0.1) + 0.5 * SFT("batch_token"), scores).item()
    assert both == pytest.approx(0.6931471805599453 + 0.5 * 8 / 7)


def test_nested_sums_open_and_needs_add_up() -> None:
    objective = parse("2*(dpo() + 0.5*sft()) - ipo()")
    assert str(objective) == "2.0*dpo(beta=0.1) + sft(per='token') - ipo(tau=0.1, per='sequence')"
    assert {need.kind for need in objective.needs} == {"reference", "length"}


def test_a_coefficient_is_a_number() -> None:
    with pytest.raises(AssentError, match="finite"):
        float("inf") * DPO()
