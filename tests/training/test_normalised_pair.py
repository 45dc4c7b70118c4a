"""The normalised pair gradient by hand, and what it promises."""

from __future__ import annotations

import pytest
import torch

from assent.training.normalised_pair import norm, normalised_pair

F64 = torch.float64


def test_golden_values() -> None:
    # g_w = (3, 4 | 0), g_l = (0, 0 | 2): lengths 5 and 2; descending takes -(g_w / 5 - g_l / 2)
    chosen = [torch.tensor([3.0, 4.0], dtype=F64), None]
    rejected = [torch.tensor([0.0, 0.0], dtype=F64), torch.tensor([2.0], dtype=F64)]
    first, second = normalised_pair(chosen, rejected)
    assert first.tolist() == pytest.approx([-0.6, -0.8], abs=1e-12) and second.tolist() == pytest.approx(
        [1.0], abs=1e-12
    )
    assert norm(chosen).item() == 5.0 and norm([None]).item() == 0.0


def test_sides_without_gradient_add_nothing() -> None:
    found = normalised_pair([torch.tensor([0.0]), None, None], [None, torch.tensor([4.0]), None])
    assert found[0].tolist() == [0.0] and found[1].tolist() == [1.0] and found[2] is None


def test_the_chosen_side_never_falls_and_the_rejected_one_never_rises() -> None:
    generator = torch.Generator().manual_seed(0)
    for _ in range(300):
        g = torch.randn(4, generator=generator, dtype=F64)
        h = (0.95 * g + 0.3 * torch.randn(4, generator=generator, dtype=F64)) * 3
        (descent,) = normalised_pair([g], [h])
        cosine = (g @ h / g.norm() / h.norm()).item()
        assert (-descent @ g).item() == pytest.approx(g.norm().item() * (1 - cosine), abs=1e-10)
        assert (-descent @ h).item() == pytest.approx(-h.norm().item() * (1 - cosine), abs=1e-10)


def test_half_precision_keeps_its_kind() -> None:
    (found,) = normalised_pair([torch.tensor([3.0, 4.0], dtype=torch.bfloat16)], [None])
    assert found.dtype == torch.bfloat16 and found.float().tolist() == pytest.approx([-0.6, -0.8], abs=4e-3)
