"""Weights for examples and tokens."""

from assent.weighting.policy_weighted import PolicyWeighted
from assent.weighting.weighted import Weighted

__all__ = ["PolicyWeighted", "Weighted"]
