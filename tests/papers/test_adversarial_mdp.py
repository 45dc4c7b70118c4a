"""The statements on adversarial MDPs, small; the complete run is slow."""

from __future__ import annotations

import pytest

from assent.papers import adversarial_mdp
from assent.papers.registry import reproduce


def test_bounds_on_few_runs():
    lemma, hedge = adversarial_mdp.heavy_costs((0, 1), runs=40)
    assert lemma.outcome == "supported" and lemma.measured["log-barrier"] > 0.3 and hedge.measured["hedge"] > -1


def test_magnitudes_on_short_runs():
    claims = {claim.name: claim for claim in adversarial_mdp.magnitudes((0, 1), rounds=(50, 150))}
    assert claims["reduced_is_bounded"].outcome == claims["reduced_is_unbiased"].outcome == "supported"
    assert claims["standard_grows"].measured["reduced, K 150: least"] > -3


def test_bridge():
    claims = adversarial_mdp.bridge((0,))
    assert [claim.outcome for claim in claims] == ["supported"] * 2


@pytest.mark.slow
def test_all_statements():
    """What holds by theorem, and what the sheet measured at rates that it does not give."""
    claims = {claim["name"]: claim for claim in reproduce("adversarial-mdp", seed=0)["claims"]}
    of_paper = {claim["outcome"] for claim in claims.values() if claim["source"] == "paper"}
    assert of_paper == {"supported"} and claims["bridge"]["outcome"] == "supported"
