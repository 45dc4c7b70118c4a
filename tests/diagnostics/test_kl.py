"""The estimators' means by enumeration, and the whole vocabulary's by hand."""

from __future__ import annotations

import math

import pytest
import torch

from assent.diagnostics.kl import ESTIMATORS, full_vocabulary, sequence_kl

P = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
R = torch.tensor([0.2, 0.2, 0.6], dtype=torch.float64)
KL = 0.5 * math.log(2.5) + 0.3 * math.log(1.5) + 0.2 * math.log(1 / 3)


def test_k1_and_k3_are_unbiased_and_k2_is_not():
    ratio = (P / R).log()
    mean = {name: float((P * k(ratio)).sum()) for name, k in ESTIMATORS.items()}
    assert mean["k1"] == pytest.approx(KL, abs=1e-12) and mean["k3"] == pytest.approx(KL, abs=1e-12)
    assert mean["k2"] == pytest.approx(0.5 * float((P * ratio.square()).sum()), abs=1e-12)
    assert abs(mean["k2"] - KL) > 0.004
    assert bool((ESTIMATORS["k3"](ratio) > 0).all())


def test_near_policies_agree_to_second_order():
    p = P * (1 + 1e-3 * torch.tensor([1.0, -1.0, -1.0], dtype=torch.float64))
    ratio = (p / P).log()
    exact = float((p * ratio).sum())
    assert float((p * ESTIMATORS["k2"](ratio)).sum()) == pytest.approx(exact, rel=2e-3)


def test_the_whole_vocabulary_by_hand():
    shifted = P.log() + 3.0  # logits are free up to a constant
    assert full_vocabulary(shifted[None], R.log()[None]).item() == pytest.approx(KL, abs=1e-12)
    assert full_vocabulary(R.log()[None], R.log()[None]).item() == 0.0


def test_sequences_sum_their_tokens_and_an_empty_one_counts():
    values, row = torch.tensor([1.0, 2.0, 4.0], dtype=torch.float64), torch.tensor([0, 0, 1])
    found = sequence_kl(values, row, 3)
    assert found.mean == pytest.approx(7 / 3, abs=1e-12)
    assert found.standard_error == pytest.approx(torch.tensor([3.0, 4.0, 0.0]).std().item() / 3**0.5, abs=1e-6)
