"""APO-zero and APO-down by hand."""

from __future__ import annotations

from math import log

import pytest
from singles import singles
from singles import slopes as single_slopes

from assent import APODown, APOZero, APOZeroUnpaired
from hand import pair, slopes, value


def test_golden_values() -> None:
    # beta 1, r_w = log 4 (sigmoid .8), r_l = -log 4 (.2): zero .2 + .2; down .8 + 1 - 16/17
    scores = pair(log(4.0), -log(4.0))
    assert value(APOZero(1.0)(scores)) == pytest.approx(0.4, abs=1e-15)
    assert value(APODown(1.0)(scores)) == pytest.approx(0.8 + 1 / 17, abs=1e-15)


def test_values_and_slopes_at_the_start() -> None:
    for objective, expected in ((APOZero(0.4), (-0.1, 0.1)), (APODown(0.4), (0.0, 0.1))):
        scores = pair(-2.0, -5.0, ref=(-2.0, -5.0))
        loss = objective(scores)
        assert value(loss) == pytest.approx(1.0, abs=1e-15)
        assert slopes(scores, loss) == pytest.approx(expected, abs=1e-15)


def test_zero_is_separable_in_the_two_sides() -> None:
    at = lambda w, l: value(APOZero(0.7)(pair(w, l)))  # noqa: E731
    assert at(1.0, 2.0) - at(1.0, -3.0) == pytest.approx(at(-4.0, 2.0) - at(-4.0, -3.0), abs=1e-15)


def test_the_unpaired_form_is_the_two_sides() -> None:
    # sigmoid(log 4) = .8 and sigmoid(-log 4) = .2
    rows = singles([log(4.0), -log(4.0)], [1.0, 0.0])
    assert APOZeroUnpaired(1.0)(rows).tolist() == pytest.approx([0.2, 0.2], abs=1e-15)
    assert APOZeroUnpaired(1.0)(singles([log(4.0)], [0.0])).tolist() == pytest.approx([0.8], abs=1e-15)
    start = singles([0.0, 0.0], [1.0, 0.0])
    assert single_slopes(APOZeroUnpaired(0.4)(start), start) == pytest.approx([-0.1, 0.1], abs=1e-15)
