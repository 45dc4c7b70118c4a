"""iREPO by hand: votes and their logits, swaps, IPO as the special case, and soft DPO next to the zero."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from assent.objectives import parse
from assent.scores import PairScores, Scores

F64 = torch.float64


def pair(gap: float, p: float | None) -> PairScores:
    number = lambda x: torch.tensor([x], dtype=F64)  # noqa: E731
    side = Scores(number(gap - 3.0).requires_grad_(), number(-3.0))
    return PairScores(side, Scores(number(-3.0), number(-3.0)), target=None if p is None else number(p))


def value_and_slope(text: str, scores: PairScores) -> tuple[float, float]:
    loss = parse(text)(scores)
    return loss.item(), torch.autograd.grad(loss.sum(), scores.chosen.logp)[0].item()


def test_golden_values():
    # beta 1/2, gap 2, p = 3/4: R = 1, logit = ln 3; slope 2 beta (R - ln 3) = 1 - ln 3
    got = value_and_slope("irepo_reconstructed(beta=0.5, eps=0.01)", pair(2.0, 0.75))
    assert got == pytest.approx(((1 - math.log(3)) ** 2, 1 - math.log(3)), abs=1e-12)
    # at the reference a tie teaches "stay", a unanimous vote asks for logit(1 - eps)
    assert value_and_slope("irepo_reconstructed()", pair(0.0, 0.5)) == (0.0, 0.0)
    told = math.log(19)
    assert value_and_slope("irepo_reconstructed()", pair(0.0, 1.0)) == pytest.approx((told**2, -0.2 * told), abs=1e-12)
    assert value_and_slope("irepo_reconstructed()", pair(0.0, None))[0] == pytest.approx(told**2, abs=1e-12)


def test_swapping_a_pair_with_its_p_changes_nothing():
    scores, loss = pair(1.7, 0.8), parse("irepo_reconstructed(beta=0.3)")
    turned = replace(scores, chosen=scores.rejected, rejected=scores.chosen, target=1 - scores.target)
    assert loss(turned).item() == pytest.approx(loss(scores).item(), abs=1e-14)


def test_a_constant_target_of_one_half_is_ipo():
    p = 1 / (1 + math.exp(-0.5))
    for gap in (-3.0, 0.0, 4.0):
        got = value_and_slope("irepo_reconstructed(beta=0.2)", pair(gap, p))
        told = value_and_slope("ipo(tau=0.2)", pair(gap, None))
        assert got == pytest.approx((0.04 * told[0], 0.04 * told[1]), abs=1e-12)


def test_next_to_its_zero_it_is_soft_dpo_without_the_weight():
    p, beta = 0.8, 0.5
    gap = (math.log(4) + 1e-5) / beta
    ours = value_and_slope(f"irepo_reconstructed(beta={beta})", pair(gap, p))[1]
    dpo = value_and_slope(f"dpo(beta={beta})", pair(gap, p))[1]
    assert dpo / ours == pytest.approx(p * (1 - p) / 2, rel=1e-4)
