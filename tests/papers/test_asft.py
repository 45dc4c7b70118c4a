"""Small versions of the statements on ASFT; the complete run is slow."""

from __future__ import annotations

import pytest

from assent.papers import asft
from assent.papers.registry import reproduce


def test_paths():
    claims = {claim.name: claim for claim in asft.paths(last=100)}
    found = claims["figures"].measured
    assert min(claims["chosen_rises"].measured[f"rate {lr}"] for lr in ("0.1", "0.25", "0.5")) > 0
    assert abs(found["asft, chosen, 100 steps"] - 0.944) < 5e-4 and abs(found["dpo, unseen, 100 steps"] - 0.913) < 5e-4
    assert claims["dpo_loses_chosen"].measured["100 steps"] > 0.07


def test_sensitivity():
    (claim,) = asft.sensitivity((0.25,))
    assert claim.outcome == "supported" and set(claim.measured) == {f"{m}, rejected at 0.25" for m in ("dpo", "asft")}


def test_separable():
    same, others = asft.separable((0,))
    assert same.measured["asft"] < 1e-12 and min(others.measured[m] for m in ("dpo", "orpo", "ipo")) > 1e-4


@pytest.mark.slow
def test_all_statements():
    """What the paper says of both slopes, and the sheet's world, hold."""
    claims = {claim["name"]: claim["outcome"] for claim in reproduce("asft", seed=0)["claims"]}
    assert {claims[name] for name in ("chosen_rises", "rejected_falls_faster", "sensitivity", "separable")} == {
        "supported"
    }
