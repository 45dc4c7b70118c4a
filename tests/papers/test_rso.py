"""Small versions of the statements on RSO; the complete run is slow."""

from __future__ import annotations

import pytest

from assent.papers import rso
from assent.papers.registry import reproduce


def outcomes(claims):
    return {claim.name: claim.outcome for claim in claims}


def test_sampler():
    found = rso.sampler((0, 1), draws=40_000, rounds=20)
    assert outcomes(found)["cold"] == outcomes(found)["hot"] == "supported"
    assert abs({c.name: c for c in found}["acceptance_rate"].measured["ratio"] - 1) < 0.05


def test_optimum():
    assert set(outcomes(rso.optimum((0, 1))).values()) == {"supported"}


def test_sources_and_stress():
    apart = {c.name: c for c in rso.sources((0, 1), steps=100)}["divergence"].measured
    assert all(0 < apart[s] < 2 for s in rso.SOURCES)
    gain = {c.name: c for c in rso.stress((0, 1), steps=100)}["reward_under_stress"].measured
    assert gain["sft"] > gain["rso"] + 0.2 and gain["rso"] > gain["best 8"]


@pytest.mark.slow
def test_reproduce():
    found = {c["name"]: c["outcome"] for c in reproduce("rso", 0)["claims"]}
    assert found["cold"] == found["hot"] == found["optimum"] == found["acceptance_rate"] == "supported"
    assert found["rejection_learns_too_little"] != "refuted"  # five seeds do not always tell it from chance
