"""The functions that losses are made of, by hand and at their ends."""

from __future__ import annotations

from math import exp, log, sqrt

import pytest
import torch

from assent.objectives.primitives import bounded_expm1, box_cox, log_complement, log_odds

S = lambda *x: torch.tensor(x, dtype=torch.float64, requires_grad=True)  # noqa: E731


def slope(function, x: float, dtype: torch.dtype = torch.float64) -> tuple[float, float]:
    at = torch.tensor([x], dtype=dtype, requires_grad=True)
    value = function(at)
    value.sum().backward()
    return value.item(), at.grad.item()


def test_golden_values() -> None:
    assert bounded_expm1(S(0.0, log(3.0))).tolist() == pytest.approx([0.0, 2.0], abs=1e-15)
    assert box_cox(S(log(4.0)), 0.5).item() == pytest.approx(2 * (sqrt(4.0) - 1), abs=1e-14)  # (sqrt u - 1) / (1/2)
    assert box_cox(S(log(4.0)), -1.0).item() == pytest.approx(1 - 0.25, abs=1e-15)
    assert log_complement(S(log(0.25), log(0.9))).tolist() == pytest.approx([log(0.75), log(0.1)], abs=1e-14)
    assert log_odds(S(log(0.8))).item() == pytest.approx(log(4.0), abs=1e-14)


def test_power_0_is_the_logarithm_and_powers_tend_to_it() -> None:
    x = S(-2.0, 0.5, 3.0)
    assert torch.equal(box_cox(x, 0.0), x)
    assert box_cox(x, 1e-9).tolist() == pytest.approx(x.tolist(), abs=1e-7)


def test_small_probabilities_keep_their_digits() -> None:
    # log(1 - p) = -p for p = e^-40; log(1 - e^-y) = log y for y = 1e-5, less y / 2
    assert log_complement(S(-40.0)).item() == pytest.approx(-exp(-40.0), rel=1e-14)
    assert log_complement(S(-1e-5)).item() == pytest.approx(log(1e-5) - 0.5e-5, abs=1e-10)


def test_beyond_the_bounds_values_go_on_as_tangents() -> None:
    top = log(torch.finfo(torch.float64).max) - 20
    value, up = slope(bounded_expm1, top + 10)
    assert up == pytest.approx(exp(top), rel=1e-12) and value == pytest.approx(11 * exp(top), rel=1e-12)
    for x in (-1e4, 1e4):
        assert all(abs(v) < 1e38 for v in slope(bounded_expm1, x, torch.float32))
    value, down = slope(log_complement, 1.0)  # a log-probability above 0 cannot be; its gradient still points down
    assert down == pytest.approx(-1e6, rel=1e-6) and value == pytest.approx(log(1e-6) - 1e6, rel=1e-6)
    assert slope(log_odds, -1e-7)[1] == pytest.approx(1e6 + 1, rel=1e-6)


def test_gradients_within_the_bounds() -> None:
    assert torch.autograd.gradcheck(bounded_expm1, (S(-3.0, 0.2, 5.0),))
    assert torch.autograd.gradcheck(log_complement, (S(-8.0, -0.8, -0.6, -0.01),))
    assert torch.autograd.gradcheck(log_odds, (S(-8.0, -0.8, -0.6, -0.01),))
