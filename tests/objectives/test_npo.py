"""NPO, its baselines and retain terms by hand, and the identities of the sheet."""

from __future__ import annotations

from math import exp, log, log1p

import pytest
import torch
from singles import singles, slopes
from torch.testing import assert_close

from assent import DPO, NPO, AssentError, GradientAscent, Retain, RetainKL, SimNPO, Tokens, parse
from assent.objectives import step_loss
from hand import pair, value


def test_golden_values() -> None:
    # beta 1, log-ratio ln 3: 2 ln(1 + 3) = 4 ln 2; beta .5, log-ratio 2 ln 3: (2 / .5) ln 4 = 8 ln 2
    assert NPO(1.0)(singles([log(3)], [0.0])).tolist() == pytest.approx([4 * log(2)], abs=1e-12)
    assert NPO(0.5)(singles([2 * log(3) - 1], [0.0], [-1.0])).tolist() == pytest.approx([8 * log(2)], abs=1e-12)
    # -6 nats over three tokens at beta 1, gamma ln 2: 2 ln(1 + 2 e^-2)
    found = SimNPO(beta=1.0, gamma=log(2))(singles([-6.0], [0.0], length=[3.0]))
    assert found.tolist() == pytest.approx([2 * log1p(2 * exp(-2))], abs=1e-12)


def test_the_start_moves_as_gradient_ascent_and_what_is_forgotten_fades() -> None:
    start = singles([-4.0, -7.0], [0.0, 0.0], [-4.0, -7.0])
    assert slopes(NPO(0.1)(start), start) == pytest.approx([1.0, 1.0], abs=1e-12)
    assert slopes(GradientAscent()(start), start) == [1.0, 1.0]
    assert value(step_loss(NPO(0.1), start)) == pytest.approx(20 * log(2), abs=1e-12)
    gone = singles([-30.0, 30.0], [0.0, 0.0])  # W = 2 sigmoid(-3), 2 sigmoid(3)
    assert slopes(NPO(0.1)(gone), gone) == pytest.approx([2 / (1 + exp(3)), 2 / (1 + exp(-3))], abs=1e-12)


def test_means_are_over_the_rows_that_a_term_is_about() -> None:
    # forget: log-probabilities -1 and -3 with weights 1 and 3: -2.5; retain: NLL 2 over 4 tokens and 6 over 1: 8 / 5
    scores = singles(
        [-1.0, -3.0, -2.0, -6.0], [0.0, 0.0, 1.0, 1.0], length=[9.0, 9.0, 4.0, 1.0], weight=[1.0, 3.0, 1.0, 1.0]
    )
    assert value(step_loss(GradientAscent(), scores)) == pytest.approx(-2.5, abs=1e-12)
    assert value(step_loss(Retain(), scores)) == pytest.approx(1.6, abs=1e-12)
    assert value(step_loss(Retain(per="token"), scores)) == pytest.approx((0.5 + 6) / 2, abs=1e-12)
    assert value(step_loss(Retain(per="sequence"), scores)) == pytest.approx(4.0, abs=1e-12)
    assert value(step_loss(parse("gradient_difference()"), scores)) == pytest.approx(-0.9, abs=1e-12)
    assert value(step_loss(Retain(), singles([-1.0], [0.0]))) == 0.0  # nothing to retain in this step


def test_small_beta_is_gradient_ascent() -> None:
    """Sheet, identity 2: L - (2/beta) ln 2 -> mean log-ratio, with error (beta / 4) mean x^2 + O(beta^3)."""
    scores = singles([1.5, -2.0, 0.7], [0.0] * 3)
    x = scores.logp.detach()
    for beta in (1e-2, 1e-3):
        error = (NPO(beta)(scores) - (2 / beta) * log(2) - x).detach()
        assert_close(error, beta / 4 * x**2, rtol=1e-3, atol=1e-9)


def test_it_is_dpo_with_the_chosen_side_pinned() -> None:
    """Sheet, identities 3 and 6."""
    for x in (-2.0, 0.4, 3.0):
        mine = value(NPO(0.3)(singles([x], [0.0])))
        assert mine == pytest.approx(2 / 0.3 * value(DPO(0.3)(pair(0.0, x))), abs=1e-12)
        assert value(NPO(0.3)(singles([5 * x], [0.0]))) == pytest.approx(5 * value(NPO(1.5)(singles([x], [0.0]))))


def test_a_logistic_flow_falls_with_the_logarithm_of_time() -> None:
    """Sheet, identity 7 and its figures: from t = 100 to 1000 ascent falls by 900, NPO by about ln 10 / beta."""
    for beta, drop in ((0.5, 4.88), (1.0, 2.47), (None, 900.0)):
        z, found, ref = 2.0, {}, -log1p(exp(-2.0))
        for step in range(1, 100_001):
            right = 1 / (1 + exp(-z)) if z > -500 else 0.0
            logp = -log1p(exp(-z)) if z > -30 else z
            weight = 1.0 if beta is None else 2 / (1 + exp(-beta * (logp - ref)))
            z -= 0.01 * weight * (1 - right)
            if step in (10_000, 100_000):
                found[step] = z
        assert found[10_000] - found[100_000] == pytest.approx(drop, rel=2e-3)


def test_retain_kl_is_a_token_mean() -> None:
    scores = singles([-1.0, -1.0], [1.0, 0.0], length=[2.0, 1.0])
    kl = torch.tensor([0.1, 0.3, 9.0], dtype=torch.float64, requires_grad=True)
    zero = torch.zeros(3, dtype=torch.float64)
    object.__setattr__(scores, "tokens", Tokens(torch.tensor([0, 0, 1]), torch.tensor([0, 1, 0]), zero, kl_ref=kl))
    loss = step_loss(RetainKL(), scores)
    assert value(loss) == pytest.approx(0.2, abs=1e-12)
    assert torch.autograd.grad(loss, kl)[0].tolist() == pytest.approx([0.5, 0.5, 0.0])
    with pytest.raises(AssentError, match="no kl_ref"):
        RetainKL()(singles([-1.0], [1.0]))


def test_ranges() -> None:
    for make, field in ((NPO, "beta"), (SimNPO, "beta"), (SimNPO, "gamma")):
        with pytest.raises(AssentError, match=field):
            make(**{field: -1.0})
    with pytest.raises(AssentError, match="retain: per"):
        Retain(per="batch")
