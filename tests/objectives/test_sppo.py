"""SPPO by hand: hard labels, win rates, groups."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from grouped import grouped
from grouped import slopes as group_slopes

from assent import LCPO, SPPO, AssentError, Column, PairScores, SPPOGroup, SPPOSoft
from hand import pair, slopes, value


def with_rates(scores: PairScores, chosen: float, rejected: float) -> PairScores:
    number = lambda x: torch.tensor([x], dtype=torch.float64)  # noqa: E731
    return replace(
        scores,
        columns={
            "win_rate_chosen": Column(number(chosen), exchange="win_rate_rejected"),
            "win_rate_rejected": Column(number(rejected), exchange="win_rate_chosen"),
        },
    )


def test_golden_values() -> None:
    # beta .25: targets 2 and -2; x = 3, 1: 1 + 9
    assert value(SPPO(0.25)(pair(3.0, 1.0))) == pytest.approx(10.0, abs=1e-15)
    # win rates .75 and .25: targets 1 and -1: 4 + 4
    assert value(SPPOSoft(0.25)(with_rates(pair(3.0, 1.0), 0.75, 0.25))) == pytest.approx(8.0, abs=1e-15)
    # three completions of win rates .75, .5, .25: targets 1, 0, -1; x = 1, 2, 0: (0 + 4 + 1) / 3
    assert SPPOGroup(0.25)(grouped([1.0, 2.0, 0.0], [0.75, 0.5, 0.25])).item() == pytest.approx(5 / 3, abs=1e-15)


def test_start_and_optimum() -> None:
    start = pair(0.0, 0.0)
    loss = SPPO(0.25)(start)
    assert value(loss) == pytest.approx(1 / (2 * 0.25**2), abs=1e-15)
    assert slopes(start, loss) == pytest.approx((-4.0, 4.0), abs=1e-15)
    assert value(SPPO(0.25)(pair(2.0, -2.0))) == 0.0
    even = grouped([0.0, 0.0], [0.5, 0.5])
    loss = SPPOGroup(0.001)(even)
    assert loss.item() == 0.0 and group_slopes(loss, even) == [0.0, 0.0]


def test_half_of_ipo_plus_a_penalty_on_the_sum() -> None:
    for x, y in ((3.0, 1.0), (-2.0, 0.5)):
        expected = (x - y - 4.0) ** 2 / 2 + (x + y) ** 2 / 2
        assert value(SPPO(0.25)(pair(x, y))) == pytest.approx(expected, abs=1e-14)


def test_a_soft_label_is_the_soft_loss_up_to_a_constant() -> None:
    def gap(x: float, y: float) -> float:
        scores = pair(x, y)
        soft = SPPO(0.25)(replace(scores, target=torch.tensor([0.75], dtype=torch.float64)))
        return value(soft - SPPOSoft(0.25)(with_rates(scores, 0.75, 0.25)))

    assert gap(3.0, 1.0) == pytest.approx(gap(-1.0, 4.0), abs=1e-13)


def test_win_rates_belong_to_their_side() -> None:
    scores = with_rates(pair(3.0, 1.0), 0.9, 0.3)
    assert value(SPPOSoft(0.25)(scores)) == value(SPPOSoft(0.25)(scores.swapped()))
    assert value(SPPOSoft(0.25)(with_rates(pair(3.0, 1.0), 1.0, 0.0))) == value(SPPO(0.25)(pair(3.0, 1.0)))
    with pytest.raises(AssentError, match="win_rate_chosen"):
        SPPOSoft()(pair(3.0, 1.0))


def test_a_shift_of_both_sides_changes_the_loss_and_not_the_logit() -> None:
    logit = lambda x, y: value(LCPO(SPPO(0.25)).logit(pair(x, y)))  # noqa: E731
    assert value(SPPO(0.25)(pair(3.0, 1.0))) != value(SPPO(0.25)(pair(4.0, 2.0)))
    assert logit(3.0, 1.0) == logit(4.0, 2.0) == pytest.approx(16.0, abs=1e-13)
