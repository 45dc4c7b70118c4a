"""SFT by hand: three means of the same negative log-likelihoods."""

from __future__ import annotations

import pytest
import torch

from assent import SFT, PairScores, Scores
from assent.objectives import step_loss
from hand import pair, value

S = lambda *x: torch.tensor(x, dtype=torch.float64)  # noqa: E731


def test_golden_values() -> None:
    scores = pair(-6.0, -1.0, length=(3.0, 1.0))
    assert value(SFT()(scores)) == pytest.approx(2.0)
    assert value(SFT(per="sequence")(scores)) == pytest.approx(6.0)


@pytest.mark.parametrize(("per", "expected"), [("token", (2.0 + 0.5) / 2), ("sequence", 4.0), ("batch_token", 8.0 / 7)])
def test_means_of_a_step(per: str, expected: float) -> None:
    rows = Scores(S(-6.0, -2.0), length=S(3.0, 4.0))  # NLL 6 over 3 tokens, 2 over 4
    assert step_loss(SFT(per), rows).item() == pytest.approx(expected)
    pairs = PairScores(rows, Scores(S(-1.0, -1.0), length=S(9.0, 9.0)))
    assert step_loss(SFT(per), pairs).item() == pytest.approx(expected)


def test_row_weights_and_soft_labels_reach_the_token_mean() -> None:
    rows = Scores(S(-6.0, -2.0), length=S(3.0, 4.0), columns={"weight": S(1.0, 2.0)})
    assert step_loss(SFT("batch_token"), rows).item() == pytest.approx((6 + 2 * 2) / (3 + 2 * 4))
    pairs = PairScores(Scores(S(-6.0), length=S(3.0)), Scores(S(-2.0), length=S(4.0)), target=S(0.25))
    assert step_loss(SFT("batch_token"), pairs).item() == pytest.approx((0.25 * 6 + 0.75 * 2) / (0.25 * 3 + 0.75 * 4))
