"""Flex-DPO by hand, and the identities of its sheet."""

from __future__ import annotations

from math import exp, log1p

import pytest

from assent import DPO, AssentError, FlexDPO, parse
from hand import pair, slopes, value


def test_golden_values() -> None:
    # .1 * 3 - .05 * (-2) = .4
    assert value(FlexDPO(0.1, 0.05)(pair(3.0, -2.0))) == pytest.approx(log1p(exp(-0.4)), abs=1e-12)
    # the rejected side ignored: .1 * 3
    assert value(FlexDPO(0.1, 0.0)(pair(3.0, -2.0))) == pytest.approx(log1p(exp(-0.3)), abs=1e-12)


def test_start_and_slopes() -> None:
    scores = pair(0.0, 0.0)
    loss = FlexDPO(0.1, 0.08)(scores)
    assert value(loss) == pytest.approx(0.6931471805599453, abs=1e-12)
    assert slopes(scores, loss) == pytest.approx((-0.05, 0.04), abs=1e-12)


def test_flex_margin_is_dpos_and_a_pull_on_the_chosen_side() -> None:
    chosen, rejected = FlexDPO(0.1, 0.08).rewards(pair(3.0, -2.0))
    assert value(chosen - rejected) == pytest.approx(0.08 * 5.0 + 0.02 * 3.0, abs=1e-12)


def test_sft_dpo_asks_for_its_gamma() -> None:
    # DPO at h = 5 and .01 * NLL of the chosen sequence
    found = parse("sft_dpo(gamma=0.01)")(pair(3.0, -2.0))
    assert value(found) == pytest.approx(value(DPO(0.1)(pair(3.0, -2.0))) - 0.03, abs=1e-12)
    assert str(parse("sft_dpo(gamma=0.01)")) == "dpo(beta=0.1) + 0.01*sft(per='sequence')"
    with pytest.raises(AssentError, match="needs 'gamma'"):
        parse("sft_dpo()")
    with pytest.raises(AssentError, match="beta_neg is -1"):
        FlexDPO(0.1, -1.0)
