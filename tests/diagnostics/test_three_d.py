"""The three measures by hand, and the paper's corollaries."""

from __future__ import annotations

from math import exp, log

import pytest
import torch

from assent import DPO
from assent.diagnostics.three_d import log_slopes, log_unseen, three_d, unseen_change
from hand import pair, slopes, value


def test_measures_by_hand() -> None:
    # reference .2 and .3, policy .1 and .05: outside .5 before and .85 now
    scores = pair(log(0.1), log(0.05), ref=(log(0.2), log(0.3)))
    found = three_d(scores)
    assert value(found.drop) == pytest.approx(log(6), abs=1e-12)
    assert value(found.suppression) == pytest.approx(log(2), abs=1e-12)
    assert value(found.dispersion) == pytest.approx(log(0.85 / 0.5), abs=1e-12)
    start = three_d(pair(-3.0, -4.0, ref=(-3.0, -4.0)))
    assert [value(x) for x in start] == [0.0, 0.0, 0.0]


def test_log_space_goes_where_probabilities_underflow() -> None:
    found = three_d(pair(-2000.0, -9000.0, ref=(-1000.0, -1000.0)))
    assert [value(x) for x in found] == pytest.approx([8000.0, 1000.0, 0.0], abs=1e-9)
    assert torch.isfinite(log_unseen(torch.tensor([0.0]), torch.tensor([-50.0]))).all()


def test_slopes_in_probabilities_are_those_of_autograd() -> None:
    scores = pair(log(0.1), log(0.05), ref=(log(0.2), log(0.3)))
    up, down = log_slopes(scores, 0.5)
    in_logs = slopes(scores, DPO(0.5)(scores))
    # dl/dp = (dl / d log p) / p
    assert -exp(value(up)) == pytest.approx(in_logs[0] / 0.1, abs=1e-12)
    assert exp(value(down)) == pytest.approx(in_logs[1] / 0.05, abs=1e-12)
    # corollary 1: their ratio is p_w / p_l = 2
    assert value(down - up) == pytest.approx(log(2), abs=1e-12)


def test_the_rejected_slope_grows_as_a_power_of_its_probability() -> None:
    # corollary 2: at fixed p_w, p_l times t multiplies the slope by t^(beta - 1)
    for beta in (0.1, 0.5, 1.0):
        before, after = (log_slopes(pair(-1.0, x, ref=(-1.0, -1.0)), beta)[1] for x in (-300.0, -310.0))
        assert value(after - before) == pytest.approx(10 * (1 - beta), abs=1e-9)


def test_held_out_answers() -> None:
    change = unseen_change(torch.tensor([-1.0, -2.0]), torch.tensor([-2.0, -4.0]))
    assert change.item() == 1.5
