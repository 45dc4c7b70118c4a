"""The rationale term by hand, and the identities of its sheet."""

from __future__ import annotations

from dataclasses import replace
from math import exp, log1p

import pytest
import torch

from assent import DPO, AssentError, Rationale, Scores, parse
from hand import pair, slopes, value

LN2 = 0.6931471805599453


def _with(logp: float, length: float = 4.0, ref: float = 0.0) -> object:
    numbers = [torch.tensor([x], dtype=torch.float64) for x in (logp, ref, length)]
    return replace(pair(2.0, 1.0), views={"rationale": Scores(numbers[0].requires_grad_(), *numbers[1:])})


def test_golden_values() -> None:
    scores = _with(-3.0)
    assert value(Rationale(0.5)(scores)) == pytest.approx(1.5, abs=1e-12)
    assert value(Rationale(0.5, per="token")(scores)) == pytest.approx(0.375, abs=1e-12)
    # the code's form: log(1 + e^1.5)
    assert value(Rationale(0.5, form="logistic")(scores)) == pytest.approx(log1p(exp(1.5)), abs=1e-12)


def test_no_weight_is_dpo_and_the_codes_form_adds_ln_2() -> None:
    scores = _with(-3.0)
    plain = value(DPO(0.1)(scores))
    assert value(parse("dpo_rationale(gamma=0.0)")(scores)) == pytest.approx(plain, abs=1e-15)
    code = parse("dpo() + rationale(gamma=0.0, form='logistic')")
    assert value(code(scores)) == pytest.approx(plain + LN2, abs=1e-15)
    assert slopes(scores, code(scores)) == slopes(scores, DPO(0.1)(scores))


def test_the_codes_slope_lies_between_half_and_whole() -> None:
    for logp in (-1e-3, -3.0, -100.0):
        scores = _with(logp)
        slope = torch.autograd.grad(Rationale(1.0, form="logistic")(scores).sum(), scores.views["rationale"].logp)[0]
        assert -1.0 <= slope.item() <= -0.5
        # the two forms differ by log(1 + e^(gamma LP)) <= ln 2
        gap = value(Rationale(form="logistic")(scores)) - value(Rationale()(scores))
        assert gap == pytest.approx(log1p(exp(logp)), abs=1e-12) and gap <= LN2


def test_the_reference_of_the_rationale_is_not_read() -> None:
    assert value(Rationale()(_with(-3.0, ref=float("nan")))) == 3.0


def test_empty_rationales_and_missing_ones() -> None:
    assert value(Rationale(per="token")(_with(0.0, length=0.0))) == 0.0
    with pytest.raises(AssentError, match=r"no view 'rationale' \(there: none\)"):
        Rationale()(pair(1.0, 0.0))


def test_doubling_the_rationale_doubles_the_sum_and_not_the_mean() -> None:
    once, twice = _with(-3.0, 4.0), _with(-6.0, 8.0)
    assert value(Rationale()(twice)) == 2 * value(Rationale()(once))
    assert value(Rationale(per="token")(twice)) == value(Rationale(per="token")(once))
    assert str(parse("orpo_rationale()")) == "orpo(lam=0.1) + rationale(gamma=1.0, form='linear', per='token')"
