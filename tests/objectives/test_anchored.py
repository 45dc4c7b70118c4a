"""INPO and IPO onto win rates by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from assent import IPO, AssentError, Column, PairScores, parse
from assent.objectives.ipo_soft import IPOSoft
from hand import pair, slopes, value


def with_columns(scores: PairScores, name: str, chosen: float, rejected: float) -> PairScores:
    number = lambda x: torch.tensor([x], dtype=torch.float64)  # noqa: E731
    a, b = f"{name}_chosen", f"{name}_rejected"
    columns = {a: Column(number(chosen), exchange=b), b: Column(number(rejected), exchange=a)}
    return replace(scores, columns=dict(scores.columns) | columns)


def test_inpo_by_hand():
    # log pi - log ref is 3 and 1; log pi_old lies 2 and 0 above ref on a reference of 0: the gaps are 2 and 2
    scores = pair(3.0, 1.0)
    ref = [float(side.ref_logp) for side in (scores.chosen, scores.rejected)]
    moved = with_columns(scores, "old_logp", ref[0] + 2, ref[1])
    # share 1/4: h = 2 - 3/4 * 2 = 1/2; target 1/(2 * .5) = 1
    assert value(parse("inpo(eta=0.5, tau=0.125)")(moved)) == pytest.approx(0.25, abs=1e-15)
    assert value(parse("inpo(eta=0.5, tau=0.5)")(moved)) == value(IPO(0.5)(scores))
    assert value(parse("inpo(eta=0.5, tau=0.0)")(moved)) == pytest.approx(1.0, abs=1e-15)  # h = 0
    assert str(parse("inpo(eta=0.5, tau=0.125)")).startswith("anchored(ipo(tau=0.5, per='sequence'), share=0.25")


def test_inpo_at_its_start():
    scores = pair(0.0, 0.0)
    ref = [float(side.ref_logp) for side in (scores.chosen, scores.rejected)]
    loss = parse("inpo(eta=0.25, tau=0.1)")(with_columns(scores, "old_logp", *ref))
    assert value(loss) == pytest.approx(4.0, abs=1e-14) and slopes(scores, loss) == pytest.approx(
        (-4.0, 4.0), abs=1e-14
    )


def test_win_rates_by_hand():
    scores = with_columns(pair(3.0, 1.0), "win_rate", 0.75, 0.5)
    # target .25 / .25 = 1; h = 2
    assert value(IPOSoft(0.25)(scores)) == pytest.approx(1.0, abs=1e-15)
    assert value(IPOSoft(0.25)(scores)) == value(IPOSoft(0.25)(scores.swapped()))
    half = with_columns(pair(3.0, 1.0), "win_rate", 0.75, 0.25)
    assert value(IPOSoft(0.25)(half)) == value(IPO(0.25)(half))
    # half of this and half the square of what both sides have too much is sppo_soft
    both = (3 + 1 - (0.75 + 0.5 - 1) / 0.25) ** 2 / 2
    sppo = value(parse("sppo_soft(beta=0.25)")(scores))
    assert sppo == pytest.approx(0.5 * value(IPOSoft(0.25)(scores)) + both, abs=1e-13)
    assert parse("egpo(beta=0.2)") == IPOSoft(0.2, "token")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("inpo(eta=0.1, tau=0.2)", "from 0 to eta"),
        ("inpo(eta=-1.0)", "above 0"),
        ("anchored(dpo(), share=1.5)", "share"),
        ("anchored(simpo())", "reads no reference"),
        ("anchored(tdpo1())", "whole sequences"),
        ("anchored(dpo(), column='')", "column"),
        ("ipo_soft(column='')", "column"),
        ("inpo(beta=0.1)", "inverse step size"),
    ],
)
def test_refusals(text, message):
    with pytest.raises(AssentError, match=message):
        parse(text)


def test_missing_columns_are_named():
    with pytest.raises(AssentError, match="old_logp_chosen"):
        parse("inpo()")(pair(1.0, 0.0))
    with pytest.raises(AssentError, match="win_rate_chosen"):
        parse("ipo_soft()")(pair(1.0, 0.0))
