"""MADPO's weight by hand, with the figures of its sheet."""

from __future__ import annotations

from math import log

import pytest
import torch
from torch.testing import assert_close

from assent import DPO, AssentError, Column, MarginWeighted, PairScores, Scores, parse

F64 = torch.float64


def at(margins: list[float], dtype: torch.dtype = F64, swap: str = "negate") -> PairScores:
    """Pairs where policy = reference, with these margins."""

    def side() -> Scores:
        blank = torch.zeros(len(margins), dtype=dtype)
        return Scores(blank.clone().requires_grad_(), blank)

    return PairScores(side(), side(), columns={"logit": Column(torch.tensor(margins, dtype=dtype), swap)})


def test_golden_values() -> None:
    # c_max 3, c_min .5, lam 1, tau ln 2: ratio 4, at h = 0 c = .5 + 2.5 / (1 + 4 / 2) = 4/3; w(0) = 1
    wrapper = MarginWeighted(DPO(), c_max=3.0, c_min=0.5, tau=log(2))
    assert wrapper.coefficient(torch.zeros(1, dtype=F64)).item() == pytest.approx(4 / 3, abs=1e-12)
    assert wrapper.weight(at([0.0])).item() == pytest.approx(1.0, abs=1e-12)
    # h = ln 4: c = .5 + 2.5 / (1 + 4 x 2) = 7/9; sigmoid(7/9 ln 4) / (4/5)
    expected = (1 / (1 + 4 ** (-7 / 9))) / 0.8
    assert wrapper.weight(at([log(4)])).item() == pytest.approx(expected, abs=1e-12)
    assert wrapper(at([log(4)])).item() == pytest.approx(expected * log(2), abs=1e-12)


def test_figures_of_the_sheet() -> None:
    wrapper = parse("madpo(c_max=4.0, c_min=0.25, tau=7.0)")
    found = wrapper.weight(at([-1.0, -1.9, -3.0, -6.0, -8.0])).tolist()
    assert found == pytest.approx([0.0693, 0.0046, 0.00028, 0.0100, 1.0], rel=0.02)
    for tau, top in ((2.0, 1.213), (7.0, 1.419)):
        many = parse(f"madpo(c_max=4.0, c_min=0.25, tau={tau})").weight(at(torch.linspace(-20, 20, 4001).tolist()))
        assert many.max().item() == pytest.approx(top, abs=2e-3) and many.min() > 0


def test_identities() -> None:
    """Sheet: c(tau) = 1 and w(+-tau) = 1; the two orders' weighted probabilities add up to 1 within tau."""
    wrapper = parse("madpo(c_max=3.0, c_min=0.3, lam=2.0, tau=1.5)")
    assert_close(wrapper.coefficient(torch.tensor([1.5, -1.5], dtype=F64)), torch.ones(2, dtype=F64))
    assert_close(wrapper.weight(at([1.5, -1.5, -1.5 + 1e-12])), torch.ones(3, dtype=F64))
    h = torch.linspace(-1.4, 1.4, 9, dtype=F64)
    both = torch.sigmoid(h) * wrapper.weight(at(h.tolist())) + torch.sigmoid(-h) * wrapper.weight(at((-h).tolist()))
    assert_close(both, torch.ones(9, dtype=F64))


def test_huge_margins_and_no_gradient_to_the_reward_model() -> None:
    scores = at([-300.0, -7.0, 300.0], torch.float32)
    scores.columns["logit"].value.requires_grad_()
    loss = parse("madpo()")(scores)
    loss.sum().backward()
    assert torch.isfinite(loss).all() and torch.isfinite(scores.chosen.logp.grad).all()
    assert scores.columns["logit"].value.grad is None
    # the code's sigmoid(c h) / sigmoid(h) would be 0 / 0 here
    assert loss[0].item() == pytest.approx(log(2))


def test_bad_input() -> None:
    with pytest.raises(AssentError, match="does not change its sign"):
        parse("madpo()")(at([1.0], swap="keep"))
    with pytest.raises(AssentError, match="'logit' is not in the data"):
        parse("madpo()")(PairScores(at([1.0]).chosen, at([1.0]).rejected))
    for field, wrong in (("c_max", 0.5), ("c_min", 1.0), ("lam", 0.0), ("tau", -1.0), ("column", "")):
        with pytest.raises(AssentError, match=f"margin_weighted: {field}"):
            MarginWeighted(DPO(), **{field: wrong})
