"""The statements on EGPO: exact ones whole, drawn games few; the complete run is slow."""

from __future__ import annotations

import pytest

from assent.games.noisy import noisy_gaps
from assent.papers import egpo
from assent.papers.registry import reproduce


def test_exact_statements():
    claims = egpo.cycle()
    assert {claim.outcome for claim in claims} == {"supported"} and len(claims) == 4


def test_loss_and_rule_on_drawn_games():
    (claim,) = egpo.same_step((0,))
    assert claim.outcome == "supported" and claim.measured["difference"] < 1e-12


def test_sampled_gradients_lead_where_exact_ones_do():
    game = egpo.drawn((0,), 0.1, each=1)
    found = noisy_gaps(game, ("omd", "egpo"), rate=2e-2, steps=300, seeds=(0,))
    start = float(game.gap(game.ref))
    assert all(float(gap) < 0.5 * start for gap in found.values())
    again = noisy_gaps(game, ("egpo",), rate=2e-2, steps=300, seeds=(0,))
    assert float(again["egpo"]) == pytest.approx(float(found["egpo"]), rel=1e-12)  # methods share draws, nothing else


@pytest.mark.slow
def test_all_statements():
    """Every game of the development seeds."""
    claims = {claim["name"]: claim for claim in reproduce("egpo", seed=0)["claims"]}
    assert {claim["outcome"] for claim in claims.values()} == {"supported"}
