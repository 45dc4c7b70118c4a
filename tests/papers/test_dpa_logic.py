"""The logic of preference losses: a fast version of every statement, the whole on development seeds marked slow."""

from __future__ import annotations

import pytest

from assent.papers.dpa_logic import PAPER, START, control, dynamics, features, lattice, trained


def test_the_order_of_the_losses() -> None:
    found = {claim.name: claim for claim in dynamics((0, 1), steps=200)}
    assert found["order"].outcome == found["rejected_falls"].outcome == "supported"
    assert abs(found["dynamics"].measured["CPO"] + 1.058) < 0.05


def test_without_entanglement_all_rise() -> None:
    (claim,) = control((0, 1), steps=40)
    assert claim.outcome == "supported" and min(claim.measured.values()) >= 0


def test_the_lattice() -> None:
    counts, monotone = lattice((0,), points=500)
    assert counts.outcome == monotone.outcome == "supported", (counts, monotone)
    assert counts.measured == {"named": 16.0, "edges": 32.0, "undefined": 31.0, "lost on the way": 0.0}


def test_the_pair_starts_even() -> None:
    chosen, rejected = trained(features((0,), 1.5), "CPO", steps=0)
    assert chosen.item() == pytest.approx(START) == rejected.item()


@pytest.mark.slow
def test_every_statement_on_development_seeds() -> None:
    for statement in PAPER.statements:
        for claim in statement(tuple(range(10))):
            assert claim.outcome in ("supported", "refuted", "unclear")
