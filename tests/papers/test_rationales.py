"""A small version of the statements on rationales; the complete run is slow."""

from __future__ import annotations

import math

import pytest
import torch

from assent.papers import rationales
from assent.papers.registry import reproduce


def test_efficiency():
    claims = {c.name: c for c in rationales.efficiency((0, 1), sizes=(30, 60), repeats=3, steps=150)}
    assert claims["better"].measured["30"] > 0.03 and claims["better"].measured["60"] > 0.01
    assert max(claims["unshared"].measured.values()) < 1e-9
    assert claims["random_length"].measured["random, 60"] > 0.15


def test_pairs_and_their_rationales():
    d, why, guess = rationales.draw((0,), 40_000, 1)
    second = d[0].T @ d[0] / len(d[0])  # labels turn d round, which leaves its even moments alone
    expected = 2 * torch.eye(12, dtype=torch.float64)
    expected[0, 3] = expected[3, 0] = 1.6
    assert torch.allclose(second, expected, atol=0.06)
    assert float(d[0].mean(0)[4:].abs().max()) < 0.05 and float(d[0, :, 0].mean()) > 0.5
    expected = (rationales.truth(1)[0] * d[0]).softmax(1).mean(0)
    assert torch.allclose(torch.bincount(why[0], minlength=12) / 40_000, expected.float(), atol=0.01)
    assert torch.allclose(torch.bincount(guess[0], minlength=12) / 40_000, torch.tensor(1 / 12), atol=0.01)


def test_the_start_by_hand():
    d, why, _ = rationales.draw((0,), 10, 1)
    zero = torch.zeros(1, 12, dtype=torch.float64)
    found = rationales.scores(d, why, zero, zero)
    assert torch.allclose(found.views["rationale"].logp, torch.tensor(-math.log(12), dtype=torch.float64))
    assert found.log_ratio_gap.abs().max() == 0


@pytest.mark.slow
def test_all_statements():
    """Rationales are worth about twice the pairs, and three times is too much, on the development seeds."""
    claims = {claim["name"]: claim for claim in reproduce("rationales", seed=0)["claims"]}
    assert {claims[n]["outcome"] for n in ("better", "twice", "unshared", "random_hurts", "accuracy")} == {"supported"}
    assert claims["three_times"]["outcome"] == claims["no_length"]["outcome"] == "refuted"
