"""Shapes in signatures, checked in the tests: P pairs, C completions, J labels, T tokens (flat), K annotators."""

from __future__ import annotations

from jaxtyping import Bool, Float, Int
from torch import Tensor

PerPair = Float[Tensor, "P"]
PerCompletion = Float[Tensor, "C"]
PerLabel = Float[Tensor, "J"]
PerToken = Float[Tensor, "T"]
PerAnnotator = Float[Tensor, "K"]
PerRow = Float[Tensor, "rows"]
PairOfLabel = Int[Tensor, "J"]
GoldLabel = Bool[Tensor, "J"]
RowOfToken = Int[Tensor, "T"]
Scalar = Float[Tensor, ""]
