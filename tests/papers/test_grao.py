"""Small versions of the statements on GRAO; the complete run is slow."""

from __future__ import annotations

import pytest

from assent.papers import grao
from assent.papers.registry import reproduce


def test_identities():
    assert {c.outcome for c in grao.identities((0, 1))} == {"supported"}


def test_learning():
    claims = {c.name: c for c in grao.learning((0, 1), early=20, late=60)}
    assert claims["faster"].measured["cold 6"] > 0.3
    late = claims["late_answer"].measured["grao, cold 6"]
    assert late > 0.9 and claims["late_beats"].measured["grao, cold 6"] < 0.05


@pytest.mark.slow
def test_reproduce():
    found = {c["name"]: c["outcome"] for c in reproduce("grao", 0)["claims"]}
    assert found["two_weights"] == found["faster"] == "supported" and found["transcends"] == "refuted"
