"""MAPL by hand, and the identities of its sheet."""

from __future__ import annotations

from dataclasses import replace
from math import exp, log1p

import pytest
import torch

from assent import AssentError, MAPLInter, MAPLIntra, Scores
from assent.objectives.mapl import INTER, INTRA
from hand import pair, value

LN2 = 0.6931471805599453


def _scores(base: tuple[float, float] = (0.0, 0.0), **views: tuple[float, ...]) -> object:
    """intra and inter give the values of their four views in order: log-ratios, and rewards of the same size."""

    def side(x: float) -> Scores:
        number = torch.tensor([x], dtype=torch.float64)
        return Scores(number, torch.zeros_like(number), columns={"reward": number})

    names = {"intra": INTRA, "inter": INTER}
    found = {n: side(x) for kind, values in views.items() for n, x in zip(names[kind], values, strict=True)}
    scores = pair(*base)
    rewards = [replace(s, columns={"reward": s.logp}) for s in (scores.chosen, scores.rejected)]
    return replace(scores, chosen=rewards[0], rejected=rewards[1], views=found)


def test_golden_values() -> None:
    # chosen: 3 - 1, rejected: 0 - 4; beta .5: mean of log(1 + e^-1) and log(1 + e^2)
    scores = _scores(intra=(3.0, 1.0, 0.0, 4.0))
    assert value(MAPLIntra(0.5)(scores)) == pytest.approx((log1p(exp(-1)) + log1p(exp(2))) / 2, abs=1e-12)
    # M(x) = 2 - 1, M(x+) = 5 - 1, M(x-) = 0 - 3: log(1 + e^-3) + log(1 + e^-4)
    scores = _scores((2.0, 1.0), inter=(5.0, 1.0, 0.0, 3.0))
    assert value(MAPLInter(1.0)(scores)) == pytest.approx(log1p(exp(-3)) + log1p(exp(-4)), abs=1e-12)
    # the other reading: log(1 + e^-4) + log(1 + e^-3)
    pairs = MAPLInter(1.0, reading="pairs")(scores)
    assert value(pairs) == pytest.approx(log1p(exp(-4)) + log1p(exp(-3)), abs=1e-12)
    assert value(MAPLInter(1.0, source="reward")(scores)) == pytest.approx(log1p(exp(-3)) + log1p(exp(-4)), abs=1e-12)


def test_what_depends_on_the_response_or_the_prompt_alone_cancels() -> None:
    # q(chosen) = 7 and q(rejected) = -2 on top of the prompts' part
    plain, shifted = _scores(intra=(3.0, 1.0, 0.0, 4.0)), _scores(intra=(10.0, 8.0, -2.0, 2.0))
    assert value(MAPLIntra(0.5)(plain)) == pytest.approx(value(MAPLIntra(0.5)(shifted)), abs=1e-12)
    plain = _scores((2.0, 1.0), inter=(5.0, 1.0, 0.0, 3.0))
    # q on the responses (7, -2), b on the prompts x, x+, x- (1, 20, -5)
    shifted = _scores((2.0 + 7 + 1, 1.0 - 2 + 1), inter=(5.0 + 7 + 20, 1.0 - 2 + 20, 0.0 + 7 - 5, 3.0 - 2 - 5))
    assert value(MAPLInter()(plain)) == pytest.approx(value(MAPLInter()(shifted)), abs=1e-12)


def test_equal_prompts_are_ln_2_each_and_prompts_are_antisymmetric() -> None:
    assert value(MAPLIntra()(_scores(intra=(2.0, 2.0, -1.0, -1.0)))) == pytest.approx(LN2, abs=1e-12)
    assert value(MAPLInter()(_scores((2.0, 1.0), inter=(2.0, 1.0, 2.0, 1.0)))) == pytest.approx(2 * LN2, abs=1e-12)
    forth, back = (value(MAPLIntra(1.0)(_scores(intra=v))) for v in ((1.0, 0.0, 1.0, 0.0), (0.0, 1.0, 0.0, 1.0)))
    assert exp(-forth) + exp(-back) == pytest.approx(1.0, abs=1e-12)


def test_compliance_of_k_instructions_lifts_the_margin_by_c_k() -> None:
    # additive reward 2 per instruction obeyed, 3 of them: M(x+) = M + 6, M(x-) = M - 6
    scores = _scores((1.5, 0.5), inter=(1.5 + 6, 0.5, 1.5, 0.5 + 6))
    assert value(MAPLInter(1.0)(scores)) == pytest.approx(2 * log1p(exp(-6)), abs=1e-12)


def test_the_order_of_the_pair_plays_no_part() -> None:
    scores = _scores((2.0, 1.0), intra=(3.0, 1.0, 0.0, 4.0), inter=(5.0, 1.0, 0.0, 3.0))
    for objective in (MAPLIntra(), MAPLInter(), MAPLInter(reading="pairs")):
        assert value(objective(scores)) == pytest.approx(value(objective(scores.swapped())), abs=1e-12)


def test_missing_views_are_said_by_name() -> None:
    with pytest.raises(AssentError, match="no view 'chosen@intra_better'"):
        MAPLIntra()(pair(1.0, 0.0))
    assert {need.kind for need in MAPLInter(source="reward").needs} == {"view", "reward"}
