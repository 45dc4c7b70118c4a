"""Weights from a column by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from assent import DPO, AssentError, Column, Weighted
from assent.objectives import step_loss
from hand import pair, value


def test_golden_values() -> None:
    column = {"confidence": Column(torch.tensor([3.0], dtype=torch.float64))}
    scores = replace(pair(0.0, 0.0), columns=column)
    assert value(Weighted(DPO(), "confidence")(scores)) == pytest.approx(3 * 0.6931471805599453, abs=1e-14)
    assert value(Weighted(DPO(1.0), "confidence")(replace(pair(1.0, 0.0), columns=column))) == pytest.approx(
        3 * 0.31326168751822286, abs=1e-14
    )


def test_it_is_part_of_the_loss_and_not_renormalised() -> None:
    column = {"confidence": Column(torch.tensor([3.0], dtype=torch.float64))}
    scores = replace(pair(0.0, 0.0), columns=column, weight=torch.tensor([5.0], dtype=torch.float64))
    assert step_loss(Weighted(DPO(), "confidence"), scores).item() == pytest.approx(3 * 0.6931471805599453)


def test_a_missing_column_is_named() -> None:
    with pytest.raises(AssentError, match="'confidence' is not in the data"):
        Weighted(DPO(), "confidence")(pair(0.0, 0.0))
