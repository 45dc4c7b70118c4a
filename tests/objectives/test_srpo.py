"""SRPO by hand, and its closed-form optimum on the sheet's world."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from assent import IPO, SRPO, AssentError, PairScores, Scores
from assent.objectives import step_loss
from hand import pair, value

F64 = torch.float64


def side(logp: torch.Tensor) -> Scores:
    return Scores(logp, torch.zeros_like(logp))


def with_views(h: tuple[float, float], g: dict[str, float]) -> PairScores:
    """One pair with log-ratios h of both sides and g of the four revisions ("wl" is w given l)."""
    number = lambda x: torch.tensor([x], dtype=F64)  # noqa: E731
    names = {"w": "chosen", "l": "rejected"}
    views = {f"{names[a]}|{names[c]}": side(number(g[a + c])) for a in "wl" for c in "wl"}
    return PairScores(side(number(h[0])), side(number(h[1])), views=views)


def test_golden_values() -> None:
    # beta .5; L_rev = [(.5 (3 - 1) - .5)^2 + (.5 (2 - 0) - .5)^2] / 2 = .25; L_gen = (.25 (3 - 0 + 1 + 4) - .5)^2 = 2.25
    scores = with_views((1.0, -4.0), {"wl": 3.0, "ll": 1.0, "ww": 2.0, "lw": 0.0})
    assert value(SRPO(beta=0.5, alpha=1.0)(scores)) == pytest.approx(0.25, abs=1e-12)
    assert value(SRPO(beta=0.5, alpha=0.0)(scores)) == pytest.approx(2.25, abs=1e-12)
    assert value(SRPO(beta=0.5, alpha=0.25)(scores)) == pytest.approx(0.25 * 0.25 + 0.75 * 2.25, abs=1e-12)
    # swapped: L_rev = [(.5 (0 - 2) - .5)^2 + (.5 (1 - 3) - .5)^2] / 2 = 2.25; L_gen = (-2 - .5)^2
    assert value(SRPO(beta=0.5, alpha=1.0)(scores.swapped())) == pytest.approx(2.25, abs=1e-12)
    assert value(SRPO(beta=0.5, alpha=0.0)(scores.swapped())) == pytest.approx(6.25, abs=1e-12)


def test_a_reviser_that_ignores_its_context_is_ipo() -> None:
    """Sheet, identity 4."""
    scores = with_views((1.3, -0.4), {"wl": 1.3, "ww": 1.3, "ll": -0.4, "lw": -0.4})
    expected = 0.25**2 * value(IPO(0.25)(pair(1.3, -0.4)))
    for alpha in (0.0, 0.5, 1.0):
        assert value(SRPO(beta=0.25, alpha=alpha)(scores)) == pytest.approx(expected, abs=1e-12)


WIN = torch.tensor([[0.5, 0.9, 0.35], [0.1, 0.5, 0.8], [0.65, 0.2, 0.5]], dtype=F64)
"""The sheet's intransitive world: P(0 > 1) = .9, P(1 > 2) = .8, P(2 > 0) = .65."""


def closed_form(beta: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits of the generator [3] and of the reviser [context, answer] at the optimum, uniform reference."""
    tilted = (WIN / beta).T  # row c: P(a > c) / beta
    return -tilted.logsumexp(1), tilted


def population(generator: torch.Tensor, reviser: torch.Tensor, mu: torch.Tensor, objective: SRPO) -> torch.Tensor:
    """The loss of all pairs of different arms, both drawn from mu and labelled by WIN."""
    h, g = generator.log_softmax(0) - torch.log(torch.tensor(1 / 3)), reviser.log_softmax(1).T
    g = g - torch.log(torch.tensor(1 / 3))  # g[a, c]
    i, j = torch.tensor([0, 0, 1]), torch.tensor([1, 2, 2])
    views = {
        "chosen|rejected": side(g[i, j]), "rejected|rejected": side(g[j, j]),
        "chosen|chosen": side(g[i, i]), "rejected|chosen": side(g[j, i]),
    }  # fmt: skip
    return step_loss(objective, PairScores(side(h[i]), side(h[j]), weight=mu[i] * mu[j], target=WIN[i, j], views=views))


def test_the_closed_form_is_stationary_whatever_drew_the_pairs() -> None:
    found, _ = closed_form(0.25)
    assert found.softmax(0).tolist() == pytest.approx([0.4751, 0.2297, 0.2951], abs=5e-5)  # the sheet's
    for mu in ([1 / 3] * 3, [0.1, 0.1, 0.8], [0.1, 0.8, 0.1]):
        for alpha in (0.1, 0.9):
            logits = [x.clone().requires_grad_() for x in closed_form(0.25)]
            loss = population(*logits, torch.tensor(mu, dtype=F64), SRPO(beta=0.25, alpha=alpha))
            for slope in torch.autograd.grad(loss, logits):
                assert_close(slope, torch.zeros_like(slope), rtol=0, atol=1e-7)


def test_bad_input() -> None:
    with pytest.raises(AssentError, match=r"no view 'chosen\|rejected'"):
        SRPO()(pair(1.0, 0.0))
    for field, wrong in (("beta", 0.0), ("alpha", 1.5)):
        with pytest.raises(AssentError, match=f"srpo: {field}"):
            SRPO(**{field: wrong})
