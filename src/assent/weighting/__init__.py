"""Weights for examples and tokens."""

from assent.weighting.difficulty import DifficultyCurriculum, DifficultyFilter, DifficultyWeight
from assent.weighting.drift_weighted import DriftWeighted
from assent.weighting.margin_weighted import MarginWeighted
from assent.weighting.masked import Masked
from assent.weighting.policy_weighted import PolicyWeighted
from assent.weighting.weighted import Weighted

__all__ = [
    "DifficultyCurriculum",
    "DifficultyFilter",
    "DifficultyWeight",
    "DriftWeighted",
    "MarginWeighted",
    "Masked",
    "PolicyWeighted",
    "Weighted",
]
