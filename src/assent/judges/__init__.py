"""Who says which of two completions is better: truth, reward models, general preferences, annotators, endpoints."""

from __future__ import annotations

from assent.judges.annotators import AnnotatorPool
from assent.judges.causal import CausalJudge, causal_judge
from assent.judges.endpoint import EndpointJudge
from assent.judges.judge import Judge, Tally, Verdicts, ask
from assent.judges.majority import Majority
from assent.judges.pairwise import PairwiseJudge
from assent.judges.scalar import ScalarJudge, reward_model
from assent.judges.spec import judge_of

__all__ = [
    "AnnotatorPool",
    "CausalJudge",
    "EndpointJudge",
    "Judge",
    "Majority",
    "PairwiseJudge",
    "ScalarJudge",
    "Tally",
    "Verdicts",
    "ask",
    "causal_judge",
    "judge_of",
    "reward_model",
]
