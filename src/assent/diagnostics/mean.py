"""A weighted mean with its standard error: what every share and every margin of the diagnostics is."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Mean(NamedTuple):
    """A mean and its standard error, in the unit of the values."""

    mean: float
    standard_error: float

    @classmethod
    def of(cls, values: Tensor, weight: Tensor | None = None) -> Mean:
        """Of ``values`` [N] by ``weight`` [N]: sqrt(n / (n - 1) sum of (w (x - mean))^2) / sum of w.

        NaN for the mean of nothing and for the error of a single value; rows of weight 0 do not count.
        """
        values = values.detach().double()
        weight = values.new_ones(len(values)) if weight is None else weight.detach().double()
        n, total = int((weight > 0).sum()), weight.sum().item()
        if total == 0:
            return cls(float("nan"), float("nan"))
        mean = ((weight * values).sum() / total).item()
        if n < 2:
            return cls(mean, float("nan"))
        squares = (weight * (values - mean)).square().sum().item()
        return cls(mean, (n / (n - 1) * squares) ** 0.5 / total)
