"""The statements on SRPO: exact ones whole, those on drawn pairs small; the complete run is slow."""

from __future__ import annotations

import pytest
import torch

from assent.papers import srpo
from assent.papers.registry import reproduce
from assent.worlds import arms
from assent.worlds.stacked import generators


def test_exact_statements():
    claims = [*srpo.invariance(), *srpo.revision()]
    assert {claim.name: claim.outcome for claim in claims} == dict.fromkeys((c.name for c in claims), "supported")
    assert len(claims) == 8


def test_five_revisions():
    """The generator is as good as its reviser already; IPO's and DPO's answers fall back to the reference's."""
    ranked, cyclic, others = srpo.inference()
    assert (ranked.outcome, cyclic.outcome, others.outcome) == ("refuted", "refuted", "supported")
    pi, reviser = arms.closed_form(srpo.RANKED, srpo.BETA)
    uniform = torch.full((3,), 1 / 3, dtype=torch.float64)
    once = float(pi @ reviser @ srpo.RANKED @ uniform)
    assert abs(ranked.measured["1 revisions"] - once) < 1e-6 and 0 < ranked.measured["0 revisions"] - once < 1e-3
    dpo = srpo.over_reference(srpo.METHODS["dpo"], srpo.RANKED)
    assert dpo[0] > 0.65 and (dpo[1:] - 0.5).abs().max() < 1e-6


def test_finite_data():
    shrinks, slope, _ = srpo.finite_data((0,), repeats=2, sizes=(300, 30_000))
    assert shrinks.measured["300 less 30000"] > 0.02 and shrinks.measured["ipo less srpo, 30000"] > 0.15
    assert -0.8 < slope.measured["exponent"] < -0.2


def test_pairs_by_hand():
    p = arms.preferences((0, 1, 0.9))
    share = arms.population(p, torch.tensor([0.5, 0.5, 0.0], dtype=torch.float64))
    # the two arms differ in half of the draws
    assert torch.allclose(share[:2, :2], torch.tensor([[0.25, 0.45], [0.05, 0.25]], dtype=torch.float64))
    assert abs(float(share.sum()) - 1) < 1e-12
    (g,) = generators((0,), 1)
    assert (arms.sample(share, 100_000, g) - share).abs().max() < 0.01


def test_closed_form_by_hand():
    # P = 1/2: nothing to improve; P(0 > 1) = 1 - 1e-9 at a high beta: nearly so
    even = arms.closed_form(arms.preferences(), 0.25)
    assert torch.allclose(even[0], torch.full((3,), 1 / 3, dtype=torch.float64)) and torch.allclose(
        even[1], torch.full((3, 3), 1 / 3, dtype=torch.float64)
    )
    # two arms, beta 1: the reviser's odds of 0 to 1 after answer 1 are e^(.9 - .5), after answer 0 e^(.5 - .1)
    two = arms.closed_form(arms.preferences((0, 1, 0.9), arms=2), 1.0)[1]
    assert torch.allclose((two[:, 0] / two[:, 1]).log(), torch.full((2,), 0.4, dtype=torch.float64))


@pytest.mark.slow
def test_all_statements():
    """Independence of mu and its price in data hold on the development seeds."""
    claims = {claim["name"]: claim for claim in reproduce("srpo", seed=0)["claims"]}
    refuted = {"five_revisions_gain", "five_revisions_gain_in_a_cycle"}
    assert {name for name, claim in claims.items() if claim["outcome"] != "supported"} == refuted
