"""Matching weights on prompts whose density ratio is known."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from assent import AssentError
from assent.weighting.matching import matching_weights

F64 = torch.float64


def test_two_kinds_of_prompts_give_the_ratio_of_their_shares() -> None:
    # kind 1 is 6 of 8 liked and 1 of 4 disliked prompts: W = .75 / .25 = 3; kind 0: .25 / .75 = 1/3
    kind = torch.tensor([1.0] * 6 + [0.0] * 2 + [1.0] + [0.0] * 3, dtype=F64)
    label = torch.tensor([1.0] * 8 + [0.0] * 4, dtype=F64)
    free = matching_weights(kind[:, None], label, ridge=1e-9, low=0.0, high=float("inf"))
    assert_close(free[:8], torch.ones(8, dtype=F64))
    assert free[8:].tolist() == pytest.approx([3.0, 1 / 3, 1 / 3, 1 / 3], rel=1e-5)
    # identical after matching: disliked rows of kind 1 weigh as much as liked ones do
    assert (free[8] / free[8:].sum()).item() == pytest.approx(0.75, rel=1e-5)
    bounded = matching_weights(kind[:, None], label, ridge=1e-9)
    assert bounded[8:].tolist() == pytest.approx([3.0, 0.5, 0.5, 0.5], rel=1e-5)
    mean = matching_weights(kind[:, None], label, ridge=1e-9, unit_mean=True)
    assert mean[8:].mean().item() == pytest.approx(1.0) and mean[:8].tolist() == [1.0] * 8


def test_prompts_that_say_nothing_weigh_one() -> None:
    x = torch.randn(40, 3, generator=torch.Generator().manual_seed(0), dtype=F64)
    same = matching_weights(torch.cat([x, x]), torch.tensor([1.0] * 40 + [0.0] * 40, dtype=F64))
    assert_close(same, torch.ones(80, dtype=F64), rtol=1e-6, atol=1e-6)


def test_separated_prompts_stay_finite() -> None:
    x = torch.linspace(-5, 5, 20, dtype=torch.float32)[:, None]
    found = matching_weights(x, (x[:, 0] > 0).float(), low=0.0, high=float("inf"))
    assert torch.isfinite(found).all() and found.dtype == torch.float32 and found[0] < 0.01


def test_bad_input() -> None:
    x, y = torch.zeros(4, 1), torch.tensor([1.0, 0.0, 1.0, 0.0])
    for prompts, label in ((x, torch.ones(4)), (x, y * 0.5), (x * float("nan"), y)):
        with pytest.raises(AssentError, match="both of which occur"):
            matching_weights(prompts, label)
    with pytest.raises(AssentError, match="low is 2"):
        matching_weights(x, y, low=2.0)


def test_weights_are_repetitions_and_new_prompts_are_read_off() -> None:
    x = torch.tensor([[0.0], [1.0], [0.0], [1.0]], dtype=torch.float64)
    y, times = torch.tensor([1.0, 1.0, 0.0, 0.0], dtype=torch.float64), torch.tensor([3, 1, 1, 3])
    weighted = matching_weights(x, y, weight=times.double(), ridge=1e-9)
    repeated = matching_weights(x.repeat_interleave(times, 0), y.repeat_interleave(times), ridge=1e-9)
    torch.testing.assert_close(weighted.repeat_interleave(times), repeated, rtol=1e-9, atol=1e-9)
    # p(0 | liked) / p(0 | disliked) = (3/4) / (1/4), and the reverse at 1, bounded below by 1/2; half way the odds are even
    torch.testing.assert_close(weighted, torch.tensor([1.0, 1.0, 3.0, 0.5], dtype=torch.float64), rtol=1e-6, atol=1e-6)
    at = torch.tensor([[0.0], [0.5], [1.0]], dtype=torch.float64)
    found = matching_weights(x, y, weight=times.double(), at=at, ridge=1e-9, low=0.0)
    torch.testing.assert_close(found, torch.tensor([3.0, 1.0, 1 / 3], dtype=torch.float64), rtol=1e-6, atol=1e-6)
