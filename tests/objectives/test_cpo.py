"""CPO by hand."""

from __future__ import annotations

import pytest

from assent import CPO, DPO, LCPO
from hand import pair, value


def test_golden_values() -> None:
    # margin .1 (-2 + 4) = .2: log(1 + e^-.2) = .5981388694, plus NLL 2
    assert value(CPO()(pair(-2.0, -4.0))) == pytest.approx(2.598138869381592, abs=1e-14)
    # alpha .5, mean over 4 tokens: margin .2 again, plus .5 * 2/4
    scores = pair(-2.0, -4.0, length=(4.0, 4.0))
    assert value(CPO(alpha=0.5, nll="token")(scores)) == pytest.approx(0.598138869381592 + 0.25, abs=1e-14)


def test_without_the_likelihood_it_is_dpo_under_a_uniform_reference() -> None:
    scores = pair(-2.0, -3.5, ref=(-7.0, -7.0))
    assert value(CPO(0.3, alpha=0.0)(scores)) == pytest.approx(value(DPO(0.3)(scores)), abs=1e-15)


def test_inside_lcpo_the_likelihood_joins_the_margin() -> None:
    assert value(LCPO(CPO(0.1)).logit(pair(-2.0, -4.0))) == pytest.approx(1.1 * 2.0, abs=1e-14)
