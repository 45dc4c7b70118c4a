"""Comparisons of runs."""

from assent.evaluation.ranking import Ranking, evaluate

__all__ = ["Ranking", "evaluate"]
