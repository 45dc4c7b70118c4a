"""A small version of the statements on SparsePO; the complete run is slow."""

from __future__ import annotations

import pytest
import torch

from assent.papers import sparsepo
from assent.papers.registry import reproduce
from assent.papers.sparsepo import Run, between, lead


def test_masks():
    claims = {claim.name: claim for claim in sparsepo.masks((0,), pairs=400, steps=50, few=50)}
    assert claims["localises"].measured["common .8"] > 0.3 and claims["localises"].measured["common + L1 .8"] > 0.1
    assert claims["kl"].measured["dpo .8"] > claims["kl"].measured["dpo 1.2"] > claims["kl"].measured["dpo 1.6"] > 0
    assert claims["reward"].measured["dpo .8"] > claims["reward"].measured["tdpo1 .8"]


def test_between_by_hand():
    run = lambda kl, reward: Run(None, *(torch.tensor([x], dtype=torch.float64) for x in (reward, kl)))  # noqa: E731
    frontier = [run(1.0, 2.0), run(3.0, 4.0)]
    # below the first run: from the reference, 0 at 0; between; beyond the last: its reward
    found = [float(between(frontier, run(kl, 0.5))) for kl in (0.5, 1.5, 9.0)]
    assert found == pytest.approx([1.0 - 0.5, 2.5 - 0.5, 4.0 - 0.5], abs=1e-12)


def test_lead_by_hand():
    assert lead(torch.tensor([[2.0, 0.5, 1.0], [0.5, 1.0, 0.0]])).tolist() == [1.0, -0.5]


@pytest.mark.slow
def test_all_statements():
    """Masks find the context; the frontier is DPO's, as the sheet foretold, on the development seeds."""
    claims = {claim["name"]: claim for claim in reproduce("sparsepo", seed=0)["claims"]}
    kept = ("localises", "sparse", "dpo_ahead", "masks", "few_pairs")
    assert {claims[name]["outcome"] for name in kept} == {"supported"}
    assert claims["frontier"]["outcome"] == "refuted"
