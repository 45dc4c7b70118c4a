"""Weights for examples and tokens."""

from assent.weighting.difficulty import DifficultyCurriculum, DifficultyFilter, DifficultyWeight
from assent.weighting.masked import Masked
from assent.weighting.policy_weighted import PolicyWeighted
from assent.weighting.weighted import Weighted

__all__ = ["DifficultyCurriculum", "DifficultyFilter", "DifficultyWeight", "Masked", "PolicyWeighted", "Weighted"]
