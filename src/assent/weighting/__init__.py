"""Weights for examples and tokens."""

from assent.weighting.masked import Masked
from assent.weighting.policy_weighted import PolicyWeighted
from assent.weighting.weighted import Weighted

__all__ = ["Masked", "PolicyWeighted", "Weighted"]
