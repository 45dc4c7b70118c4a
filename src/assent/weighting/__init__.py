"""Weights for examples and tokens."""

from assent.weighting.weighted import Weighted

__all__ = ["Weighted"]
