"""SparsePO by hand, and the identities of its sheet."""

from __future__ import annotations

from math import exp, log1p

import pytest
import torch

from assent import DPO, TDPO1, AssentError, SparsePO, parse
from hand import value
from hand_tokens import side, token_pair, token_slopes

LN2 = 0.6931471805599453


def _pair(mask: tuple[list[float], list[float]], kl_mask: tuple[list[float], list[float]] | None = None) -> object:
    # log-ratios 1, 3 and KLs .5, 1 of the chosen side; log-ratio 2 and KL 2 of the rejected one
    more = ({}, {}) if kl_mask is None else tuple({"m_d": [m]} for m in kl_mask)
    return token_pair(
        side([1.0, 3.0], kl_ref=[[0.5, 1.0]], mask=[mask[0]], **more[0]),
        side([2.0], kl_ref=[[2.0]], mask=[mask[1]], **more[1]),
    )


def test_golden_values() -> None:
    # masks 2, 0 and .5: U 2 - 1 = 1, K_l - K_w = 1 - 1 = 0, L1 2.5, common: half of (.1 + .3) of it
    assert value(SparsePO(1.0, 0.1, 0.3)(_pair(([2.0, 0.0], [0.5])))) == pytest.approx(log1p(exp(-1)) + 0.5, abs=1e-12)
    # masks of their own: m_d 1, 1 and 0: K_l - K_w = -1.5, margin 2.5; .1 * 2.5 + .3 * 2
    scores = _pair(([2.0, 0.0], [0.5]), ([1.0, 1.0], [0.0]))
    expected = log1p(exp(-2.5)) + 0.25 + 0.6
    assert value(SparsePO(1.0, 0.1, 0.3, mask_d="m_d")(scores)) == pytest.approx(expected, abs=1e-12)
    # binary: 1, 0 and 1: U 1 - 2, K .5 and 2: margin -1 - 1.5
    binary = SparsePO(1.0, 0.0, 0.0, binary=True)(_pair(([2.0, 0.0], [0.5])))
    assert value(binary) == pytest.approx(log1p(exp(2.5)), abs=1e-12)


def test_masks_of_one_are_tdpo1_in_value_and_gradient() -> None:
    scores = _pair(([1.0, 1.0], [1.0]))
    ours, theirs = SparsePO(0.3, 0.0, 0.0)(scores), TDPO1(0.3)(scores)
    assert value(ours) == pytest.approx(value(theirs), abs=1e-15)
    assert token_slopes(scores, ours) == token_slopes(scores, theirs)
    kl = [scores.chosen.tokens.kl_ref, scores.rejected.tokens.kl_ref]
    for a, b in zip(*(torch.autograd.grad(x.sum(), kl, retain_graph=True) for x in (ours, theirs)), strict=True):
        assert a.tolist() == pytest.approx(b.tolist(), abs=1e-15)


def test_no_kl_mask_is_dpo_and_no_mask_is_ln_2_without_gradient() -> None:
    scores = _pair(([1.0, 1.0], [1.0]), ([0.0, 0.0], [0.0]))
    assert value(SparsePO(0.3, 0.0, 0.0, mask_d="m_d")(scores)) == pytest.approx(value(DPO(0.3)(scores)), abs=1e-15)
    blank = _pair(([0.0, 0.0], [0.0]))
    loss = SparsePO(0.3, 0.0, 0.0)(blank)
    assert value(loss) == pytest.approx(LN2, abs=1e-15)
    assert token_slopes(blank, loss) == ([0.0, 0.0], [0.0])


def test_masks_carry_a_temperature() -> None:
    doubled = SparsePO(0.3, 0.0, 0.0)(_pair(([2.0, 2.0], [2.0])))
    assert value(doubled) == pytest.approx(value(TDPO1(0.6)(_pair(([1.0, 1.0], [1.0])))), abs=1e-12)


def test_gradient_of_independent_masks() -> None:
    scores = _pair(([1.0, 1.0], [1.0]), ([0.0, 0.0], [0.0]))
    loss = SparsePO(0.3, 0.02, 0.0, mask_d="m_d")(scores)
    chosen, rejected = torch.autograd.grad(loss.sum(), (scores.chosen.tokens.mask, scores.rejected.tokens.mask))
    # s = sigmoid(-.3 (4 - 2)) ; -beta s u + lam_u on the chosen side, +beta s u + lam_u on the rejected one
    s = 0.3 / (1 + exp(0.6))
    assert chosen.tolist() == pytest.approx([-s * 1 + 0.02, -s * 3 + 0.02], abs=1e-12)
    assert rejected.tolist() == pytest.approx([s * 2 + 0.02], abs=1e-12)


def test_a_missing_mask_is_said_by_name() -> None:
    scores = token_pair(side([1.0], kl_ref=[[0.0]]), side([1.0], kl_ref=[[0.0]]))
    with pytest.raises(AssentError, match="no 'mask'"):
        SparsePO()(scores)
    assert str(parse("mapo()")) == (
        "sparsepo(beta=0.1, lam_u=0.0, lam_d=0.0, mask_u='activation_mask', mask_d='activation_mask', binary=False)"
    )
