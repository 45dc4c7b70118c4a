"""Small versions of the statements on gradient entanglement; the complete run is slow."""

from __future__ import annotations

import pytest

from assent.papers import gradient_entanglement as paper
from assent.papers.registry import reproduce


def test_sign_law():
    signs, never = paper.sign_law((0,), policies=40)
    assert signs.measured["disagreements"] == 0.0 and signs.measured["signs checked"] > 800
    assert never.measured["pairs"] == 0.0


def test_suffixes():
    claims = {claim.name: claim for claim in paper.suffixes((0,), shared=(0, 32), steps=60)}
    law = claims["suffix_law"].measured
    assert law["rise, 0 shared"] > 0.3 and law["fall, 32 shared"] > 0.8
    cosines = claims["suffix_cosines"].measured
    assert cosines["0 shared"] < 0 and abs(cosines["32 shared"] - 0.88) < 0.03
    assert all(claims["normalised_pair"].measured[f"log p(w), {k} shared"] > 1 for k in (0, 32))
    assert claims["cpo_rises"].measured["32 shared"] > 5 and claims["rejected_falls"].measured["0 shared"] > 0.5


def test_norm_gap():
    (claim,) = paper.norm_gap((0,), steps=60)
    assert abs(claim.measured["cosine"] - 0.87) < 0.03 and claim.measured["change"] > 0.8


@pytest.mark.slow
def test_all_statements():
    """Every statement but the figures of the changes is supported on the development seeds."""
    claims = {claim["name"]: claim["outcome"] for claim in reproduce("gradient-entanglement")["claims"]}
    assert {name for name, outcome in claims.items() if outcome != "supported"} <= {"suffix_changes"}
