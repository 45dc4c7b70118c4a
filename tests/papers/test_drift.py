"""Small versions of the statements on DRIFT; the complete run is slow."""

from __future__ import annotations

import pytest

from assent.papers import drift
from assent.papers.registry import reproduce


def test_first_step():
    assert {c.outcome for c in drift.first_step(tuple(range(10)))} == {"supported"}


def test_rounds():
    claims = {c.name: c for c in drift.rounds((0, 1), count=3)}
    found = claims["utility_by_round"].measured
    assert found["drift, round 3"] > 2.0 > found["spin, round 2"] and abs(found["drift, round 0"]) < 0.1
    assert claims["effective_number"].measured["judged, sd 3"] > 1


@pytest.mark.slow
def test_reproduce():
    found = {c["name"]: c["outcome"] for c in reproduce("drift", 0)["claims"]}
    assert found["pure_unlikelihood"] == found["mirrors"] == found["utility"] == "supported"
    assert found["diversity"] == "refuted"
