"""Losses on some of the tokens, by hand."""

from __future__ import annotations

from math import exp, log, log1p

import pytest
import torch

from assent import DPO, IPO, TDPO1, AssentError, Masked, SimPO, parse
from hand import value
from hand_tokens import side, token_pair, token_slopes


def _pair(chosen: list[float], rejected: list[float]) -> object:
    # chosen log-ratios 1 2 3, rejected -1 5
    return token_pair(side([1.0, 2.0, 3.0], keep=[chosen]), side([-1.0, 5.0], keep=[rejected]))


def test_golden_values() -> None:
    scores = _pair([1.0, 0.0, 1.0], [1.0, 0.0])
    # 1 + 3 - (-1) = 5
    assert value(Masked(DPO(0.1), "keep")(scores)) == pytest.approx(log1p(exp(-0.5)), abs=1e-12)
    # lengths are those of what is left: 4 / 2 - (-1) / 1 = 3, 2 * 3 - .5
    assert value(Masked(SimPO(2.0, 0.5), "keep")(scores)) == pytest.approx(log1p(exp(-5.5)), abs=1e-12)
    # half a token counts half: (1 + 1 + 3 - (-1 + 1)) = 5, (5 - 5)^2
    soft = _pair([1.0, 0.5, 1.0], [1.0, 0.2])
    assert value(Masked(IPO(0.1), "keep")(soft)) == pytest.approx(0.0, abs=1e-12)


def test_masked_tokens_get_no_gradient() -> None:
    scores = _pair([1.0, 0.0, 1.0], [1.0, 0.0])
    chosen, rejected = token_slopes(scores, Masked(DPO(0.1), "keep")(scores))
    s = 0.1 / (1 + exp(0.5))
    assert chosen == pytest.approx([-s, 0.0, -s], abs=1e-12) and rejected == pytest.approx([s, 0.0], abs=1e-12)


def test_all_ones_is_the_base_and_rules_follow_from_the_pair() -> None:
    scores = _pair([1.0] * 3, [1.0] * 2)
    assert value(Masked(DPO(), "keep")(scores)) == pytest.approx(value(DPO()(scores)), abs=1e-15)
    # the first two tokens of either side: 1 + 2 - 4 = -1
    assert value(Masked(DPO(0.1), "shorter")(scores)) == pytest.approx(log1p(exp(0.1)), abs=1e-12)
    # ids 7 8 9 and 8 6: shared is 8, so 1 + 3 - 5 = -1
    ids = token_pair(side([1.0, 2.0, 3.0], id=[[7.0, 8.0, 9.0]]), side([-1.0, 5.0], id=[[8.0, 6.0]]))
    objective = Masked(DPO(0.1), "differing")
    assert [m.tolist() for m in objective.masks(ids)] == [[1.0, 0.0, 1.0], [0.0, 1.0]]
    assert value(objective(ids)) == pytest.approx(log1p(exp(0.1)), abs=1e-12)


def test_ids_are_compared_within_their_own_pair() -> None:
    left = side([1.0], [2.0], id=[[4.0], [5.0]])
    right = side([1.0], [2.0], id=[[5.0], [5.0]])
    assert [m.tolist() for m in Masked(DPO(), "differing").masks(token_pair(left, right))] == [[1.0, 0.0], [1.0, 0.0]]


def test_bases_of_single_tokens_see_the_tokens_left() -> None:
    scores = token_pair(
        side([1.0, 2.0], kl_ref=[[0.5, 9.0]], keep=[[1.0, 0.0]]), side([0.5], kl_ref=[[1.75]], keep=[[1.0]])
    )
    # h = 1 - .5, K_l - K_w = 1.75 - .5: margin -.75
    assert value(Masked(TDPO1(1.0), "keep")(scores)) == pytest.approx(log1p(exp(0.75)), abs=1e-12)
    scores.chosen.tokens.columns["keep"][1] = 0.5
    with pytest.raises(AssentError, match="expected 0 and 1 only"):
        Masked(TDPO1(1.0), "keep")(scores)


def test_a_completion_without_tokens_is_refused_or_ln_2() -> None:
    blank = _pair([0.0] * 3, [0.0] * 2)
    with pytest.raises(AssentError, match="leaves no token of completion 0"):
        Masked(DPO(), "keep")(blank)
    dead = token_pair(side([1.0], mask=[[0.0]]), side([2.0], mask=[[0.0]]))
    loss = Masked(DPO(), "mask")(dead)
    assert value(loss) == pytest.approx(log(2), abs=1e-15) and token_slopes(dead, loss) == ([0.0], [0.0])
    with pytest.raises(AssentError, match="leaves no token"):
        Masked(SimPO(), "mask")(dead)


def test_a_learned_mask_gets_gradient_and_a_penalty() -> None:
    scores = token_pair(side([1.0, 3.0], mask=[[1.0, 0.5]]), side([2.0], mask=[[1.0]]))
    objective = parse("sparse_masked_reconstructed(beta=1.0, lam=0.1)")
    assert str(objective) == "masked(dpo(beta=1.0), tokens='mask') + 0.1*mask_l1(tokens='mask')"
    # margin 2.5 - 2 = .5, size 2.5
    loss = objective(scores)
    assert value(loss) == pytest.approx(log1p(exp(-0.5)) + 0.25, abs=1e-12)
    slope = torch.autograd.grad(loss.sum(), scores.chosen.tokens.mask)[0]
    s = 1 / (1 + exp(0.5))
    assert slope.tolist() == pytest.approx([-s + 0.1, -3 * s + 0.1], abs=1e-12)
