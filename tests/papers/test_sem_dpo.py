"""Small versions of the statements on Sem-DPO; the complete run is slow."""

from __future__ import annotations

import pytest
import torch

from assent.papers import sem_dpo
from assent.papers.registry import reproduce


def test_population():
    claims = {claim.name: claim for claim in sem_dpo.population_world((0,), prompts=5)}
    assert min(v for k, v in claims["similarity_rises"].measured.items() if "error" not in k) > 0
    assert max(v for k, v in claims["preference_rises"].measured.items() if "error" not in k) < 0
    assert claims["shaped_reward"].outcome == "supported" and claims["symmetric_weight"].outcome == "supported"
    assert 0.2 < claims["figures"].measured["cosine, alpha 0"] < 0.6


def test_gold():
    rises, best = sem_dpo.gold((0,), prompts=5)
    assert best.measured["best alpha, no flips"] == 3 and rises.measured["over DPO, no flips"] > 0.02
    assert best.measured["best alpha"] < 3  # flips shape the reward before the weight does


def test_world():
    world = sem_dpo.draw((0,), prompts=20)
    assert world.reward.shape == (1, 20, 8) and world.distance.min() > 0 and world.distance.max() < 1.5
    assert (world.reward.mean(2).abs() < 0.7).all()  # centred but for the noise
    assert torch.corrcoef(torch.stack([world.reward.flatten(), world.distance.flatten()]))[0, 1] > 0.8


def test_sampled():
    (claim,) = sem_dpo.sampled((0,), pairs=2000, steps=60)
    assert claim.measured["cosine, alpha 4"] > claim.measured["cosine, alpha 0"] + 0.002


@pytest.mark.slow
def test_all_statements():
    """Fidelity rises and the shaped reward explains it, on the development seeds; the labels' own score falls."""
    claims = {claim["name"]: claim["outcome"] for claim in reproduce("sem-dpo", seed=0)["claims"]}
    kept = ("similarity_rises", "preference_falls", "shaped_reward", "symmetric_weight", "sampled_similarity")
    assert {claims[name] for name in kept} == {"supported"} and claims["preference_rises"] == "refuted"
