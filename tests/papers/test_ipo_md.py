"""The statements on online IPO and IPO-MD: exact ones whole, momentum short; the complete run is slow."""

from __future__ import annotations

import pytest

from assent.papers import ipo_md
from assent.papers.registry import reproduce


def test_exact_statements():
    claims = [*ipo_md.two_arms(), *ipo_md.gradients((0,))]
    assert [claim.outcome for claim in claims] == ["supported"] * 3


def test_ends_at_one_temperature(monkeypatch):
    monkeypatch.setattr(ipo_md, "SHEET", {0.1: ipo_md.SHEET[0.1]})
    claims = {claim.name: claim for claim in ipo_md.where()}
    assert {claim.outcome for claim in claims.values()} == {"supported"}
    assert claims["gaps"].measured["offline, tau 0.1: gap"] == pytest.approx(0.134, abs=5e-4)


def test_short_momentum(monkeypatch):
    monkeypatch.setattr(ipo_md, "SHEET", {0.1: ipo_md.SHEET[0.1]})
    (claim,) = ipo_md.momentum((), steps=1500)
    assert claim.measured["tau 0.1"] > 1.0


@pytest.mark.slow
def test_all_statements():
    """Both temperatures, drawn games and momentum in full."""
    claims = reproduce("ipo-md", seed=0)["claims"]
    assert {claim["outcome"] for claim in claims} == {"supported"}
