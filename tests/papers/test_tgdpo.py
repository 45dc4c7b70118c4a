"""A small version of the statements on TGDPO, and its world by hand; the complete run is slow."""

from __future__ import annotations

import math

import pytest
import torch

from assent.objectives import parse
from assent.papers import tgdpo
from assent.papers.registry import reproduce
from assent.worlds import contexts


def test_convergence():
    claims = {claim.name: claim for claim in tgdpo.convergence((0, 1), steps=120)}
    assert claims["steps"].measured["alpha 0.5"] > claims["steps"].predicted["alpha 0.5"] * 0.7
    steps = claims["faster_with_alpha"].measured
    assert steps["steps, alpha 0.5"] > steps["steps, alpha 1"] > steps["steps, alpha 2"] > 5
    assert claims["below_the_noise"].measured["alpha 1"] > 0.3
    assert claims["not_by_fit"].measured["alpha 1"] > 0.1


def test_the_offset_has_no_label():
    """The margin less DPO's is the same in the swapped order, alpha times the guide's agreement with the policy."""
    world = contexts.draw((3,), tgdpo.gain(), contexts.places, pairs=20, length=8, salt=53)
    g = torch.Generator().manual_seed(0)
    policy, guide = torch.randn(2, 1, 8, 4, generator=g, dtype=torch.float64)
    found = contexts.scores(policy, world, {"guide": guide.log_softmax(2)})
    loss = parse("tgdpo(beta=0.1, alpha=0.7, rewards_column='guide', source='logp')")
    logit = lambda scores: -torch.expm1(loss(scores)).log()  # noqa: E731
    extra = torch.zeros(20, dtype=torch.float64)
    up, told = policy.log_softmax(2) + math.log(4), 0.1 * (guide.log_softmax(2) + math.log(4))
    for texts in world.token:
        for place in range(8):
            cells = texts[0, :, place]
            extra += 0.7 * 0.1 * (up * told)[0, place, cells]
    both = logit(found) + logit(found.swapped())
    assert torch.allclose(both, 2 * extra, atol=1e-10)


@pytest.mark.slow
def test_all_statements():
    """Speed, the end and the noise floor are as the sheet foretold on the development seeds."""
    claims = {claim["name"]: claim for claim in reproduce("tgdpo", seed=0)["claims"]}
    kept = ("faster_with_alpha", "same_quality", "steps", "below_the_noise", "not_by_fit", "tgdpo_kl")
    assert {claims[name]["outcome"] for name in kept} == {"supported"}
