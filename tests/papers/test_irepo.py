"""Small versions of the statements on iREPO; the complete run is slow."""

from __future__ import annotations

import pytest

from assent.papers import irepo
from assent.papers.registry import reproduce


def test_votes():
    claims = {c.name: c for c in irepo.votes((0, 1), steps=300)}
    found = claims["regression"].measured
    assert found["1 votes"] > 0.3 > 0.1 > found["11 votes"] > found["101 votes"]
    assert claims["hard_labels_overfit"].measured["101 votes"] > 0.5


def test_references():
    assert {c.outcome for c in irepo.references((0, 1), rounds=3)} <= {"supported", "unclear"}
    assert {c.name: c for c in irepo.references((0,), rounds=3)}["previous"].measured["difference"] < 1e-9


@pytest.mark.slow
def test_reproduce():
    found = {c["name"]: c["outcome"] for c in reproduce("irepo", 0)["claims"]}
    assert found["previous"] == found["start"] == found["one_vote_is_too_few"] == "supported"
