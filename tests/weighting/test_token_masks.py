"""Sources of token masks, by hand."""

from __future__ import annotations

import pytest
import torch

from assent import AssentError
from assent.weighting.token_masks import LearnedMask, activation_mask

F64 = torch.float64


def test_activation_masks_by_hand() -> None:
    # means 1, 3, 2 of the first completion -> 0, 1, 1/2; 5, 4 of the second -> 1, 0
    row = torch.tensor([0, 0, 0, 1, 1])
    one = torch.tensor([[0.0, 2.0], [3.0, 3.0], [2.0, 2.0], [5.0, 5.0], [4.0, 4.0]], dtype=F64)
    assert activation_mask([one], row).tolist() == pytest.approx([0.0, 1.0, 0.5, 1.0, 0.0], abs=1e-12)
    # a second place with the order turned round, averaged: all 1/2
    assert activation_mask([one, -one], row).tolist() == pytest.approx([0.5] * 5, abs=1e-12)


def test_normalising_before_the_scaling_changes_nothing() -> None:
    row = torch.tensor([0, 0, 0])
    one = torch.randn(3, 4, dtype=F64, generator=torch.Generator().manual_seed(0))
    mean = one.mean(-1)
    normal = ((mean - mean.mean()) / (mean.std() + 1e-12))[:, None]
    assert activation_mask([one], row).tolist() == pytest.approx(activation_mask([normal], row).tolist(), abs=1e-9)


def test_constant_completions_count_fully() -> None:
    assert activation_mask([torch.ones(3, 2)], torch.tensor([0, 1, 1])).tolist() == [1.0, 1.0, 1.0]
    with pytest.raises(AssentError, match="no activations"):
        activation_mask([], torch.tensor([0]))


def test_the_learned_mask_starts_at_one_and_trains_only_itself() -> None:
    head = LearnedMask(2, 3, dropout=0.0).double()
    hidden = torch.randn(2, 4, 3, dtype=F64, generator=torch.Generator().manual_seed(1), requires_grad=True)
    mask = head(hidden)
    assert mask.tolist() == pytest.approx([1.0] * 4, abs=1e-12)
    mask.sum().backward()
    assert hidden.grad is None and head.weight.grad.abs().sum() > 0 and head.mix.grad.tolist() == [4.0, 4.0]


def test_the_learned_mask_by_hand() -> None:
    head = LearnedMask(1, 2, dropout=0.0).double()
    with torch.no_grad():
        head.weight.copy_(torch.tensor([[2.0, 0.0]]))
        head.bias.fill_(1.0)
        head.mix.fill_(0.5)
    # layer norm of (1, 0) is (1, -1), of (0, 1) is (-1, 1): .5 relu(2 + 1) and .5 relu(-2 + 1)
    mask = head(torch.tensor([[[1.0, 0.0], [0.0, 1.0]]], dtype=F64))
    assert mask.tolist() == pytest.approx([1.5, 0.0], abs=1e-4)
