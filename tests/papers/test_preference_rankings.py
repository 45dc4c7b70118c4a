"""Small versions of the statements on preference rankings; the complete run is slow."""

from __future__ import annotations

import pytest

from assent.papers import preference_rankings as paper
from assent.papers.registry import reproduce


def test_thresholds_and_optimum():
    (claim,) = paper.thresholds((0,), pairs=5000)
    assert claim.measured == {"theorem 4.1": 0.0, "proposition 2.6": 0.0, "proposition A.7": 0.0}
    (claim,) = paper.optimum((0,), pairs=50)
    assert claim.measured["largest slope"] < 1e-12


def test_flips():
    claims = {claim.name: claim for claim in paper.flips((0,), steps=40)}
    found = claims["flip_figures"].measured
    assert found["flipped, gamma 1"] < 0.2 < found["flipped, gamma 0.5"] < found["flipped, gamma 0"]
    assert found["agreement, gamma 1"] > 0.9 and claims["dpo_rarely_flips"].measured["reward accuracy"] > 0.75
    assert claims["narrow_reference"].measured["flipped"] > 0.35


def test_idealised_accuracy():
    figures, follows = paper.idealised((0,))
    assert figures.measured["equation, beta 0.01"] == 1.0 and abs(figures.measured["equation, beta 10"] - 0.4) < 0.05
    assert figures.measured["code, beta 10"] > 0.85 and min(follows.measured[f"beta {b}"] for b in (1, 5, 10)) > 0.4


def test_flip_times():
    exact, figures = paper.flip_times()
    assert exact.measured["relative error"] < 1e-9
    # (20 + (e^2 - 1) / .1) / .2
    assert abs(figures.measured["c = 20"] - 419.4528) < 1e-3


@pytest.mark.slow
def test_all_statements():
    """The theorems hold on the development seeds, and DPO rarely flips."""
    claims = {claim["name"]: claim for claim in reproduce("preference-rankings")["claims"]}
    assert {c["outcome"] for c in claims.values() if c["source"] == "paper"} == {"supported"}
    assert claims["smaller_gamma_flips_more"]["outcome"] == "supported"
