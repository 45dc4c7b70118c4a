"""Small versions of the statements on OSP; the complete run is slow."""

from __future__ import annotations

import math

import pytest
import torch

from assent.objectives import parse
from assent.papers import osp
from assent.papers.registry import reproduce
from assent.worlds import online


def test_targets():
    claims = {claim.name: claim for claim in osp.targets((0,), short=200, long=400)}
    regret = claims["regret"].measured
    assert regret["soft, 3000 steps"] < 0.05 and regret["hard, 3000 steps"] > 0.3
    assert claims["strengths_avoid_overfitting"].measured["all"] > 0.3
    assert claims["hard_labels_drift"].measured["KL to the reference, hard"] > 0


def test_judges():
    good, bad, length = osp.judges((0,), steps=200)
    assert good.measured["gain"] > 0.3 and bad.measured["gain"] < 0.4
    assert length.measured["words for each unit"] > 3


def test_the_best_policy_stands_still():
    """At softmax(r / beta) soft labels of a right judge have no slope, so the next steps leave it alone."""
    reward = online.draw((0,), prompts=3)
    theta = online.fit(parse("osp_reconstructed(beta=1.0)"), [online.Arm(reward)], (0,), steps=2000)[0]
    assert osp.measures(theta, reward)[0].max() < 2e-3
    assert abs(float(online.divergence(torch.zeros(1, 2, 10), torch.zeros(1, 2, 10)))) < 1e-12
    sharp = torch.tensor([[[50.0, *[0.0] * 9]]], dtype=torch.float64)
    assert abs(float(online.divergence(sharp, torch.zeros_like(sharp))) - math.log(10)) < 1e-9


@pytest.mark.slow
def test_all_statements():
    """Soft targets and hard ones end where the sheet saw them, on the development seeds."""
    claims = {claim["name"]: claim for claim in reproduce("osp", seed=0)["claims"]}
    kept = (
        "strengths_avoid_overfitting",
        "tenfold",
        "hard_labels_drift",
        "choose_by_strengths",
        "regret",
        "length_bias",
    )
    assert {claims[name]["outcome"] for name in kept} == {"supported"}
