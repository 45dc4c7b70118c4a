"""Length-normalised DPO by hand, and Step-DPO's spelling."""

from __future__ import annotations

from math import exp, log1p

import pytest

from assent import DPO, LCPO, DPONorm, parse
from hand import pair, value


def test_golden_values() -> None:
    # log-ratios 3 over 3 tokens and 1 over 2: 1 - .5; beta 5: 2.5, beta 2: 1
    scores = pair(3.0, 1.0, length=(3.0, 2.0))
    assert value(DPONorm()(scores)) == pytest.approx(log1p(exp(-2.5)), abs=1e-15)
    assert value(DPONorm(2.0)(scores)) == pytest.approx(log1p(exp(-1.0)), abs=1e-15)
    assert value(LCPO(DPONorm(2.0)).logit(scores)) == pytest.approx(1.0, abs=1e-15)


def test_equal_lengths_divide_beta_and_doubling_every_token_changes_nothing() -> None:
    scores = pair(3.0, 1.0, length=(4.0, 4.0))
    assert value(DPONorm(2.0)(scores)) == pytest.approx(value(DPO(0.5)(scores)), abs=1e-15)
    twice = pair(6.0, 2.0, length=(8.0, 8.0))
    assert value(DPONorm(2.0)(scores)) == value(DPONorm(2.0)(twice))


def test_step_dpo_is_dpo_on_rows_of_steps() -> None:
    assert parse("step_dpo(beta=0.5)") == DPO(0.5)
    assert str(parse("step_dpo()")) == "dpo(beta=0.4)"
