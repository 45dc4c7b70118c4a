"""Assent: learn what people agree on from the preferences they recorded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from assent._version import __version__
from assent.errors import AssentError
from assent.logic import Logic
from assent.objectives import (
    AOT,
    ASFT,
    BCO,
    CPO,
    DPO,
    DPOP,
    EXO,
    FDPO,
    GRPO,
    IPO,
    KTO,
    LDDPO,
    NCA,
    NPO,
    ODPO,
    ORPO,
    RLOO,
    SFT,
    SPPO,
    SRPO,
    TDPO1,
    TDPO2,
    TGDPO,
    AlphaPO,
    AOTUnpaired,
    APODown,
    APOZero,
    APOZeroUnpaired,
    BCOPair,
    BetaDPO,
    BradleyTerry,
    CalDPO,
    CoLoR,
    DegreeReconstructed,
    DiscoPOP,
    DPONorm,
    EXOGroup,
    FlexDPO,
    GammaDPO,
    GradientAscent,
    Hinge,
    InfoNCA,
    LengthDPO,
    MAPLInter,
    MAPLIntra,
    MaskL1,
    MovingReference,
    NCAGroup,
    Objective,
    PlackettLuce,
    Rationale,
    Retain,
    RetainKL,
    SamPO,
    SimNPO,
    SimPO,
    SLiC,
    SparsePO,
    SPPOGroup,
    SPPOSoft,
    objectives,
    parse,
)
from assent.records import Example, Group, Label, Pair
from assent.robust import LCPO, Smooth, Unbiased
from assent.scores import Column, GroupScores, Labels, PairScores, Scores, Tokens
from assent.weighting import (
    DifficultyCurriculum,
    DifficultyFilter,
    DifficultyWeight,
    DriftWeighted,
    MarginWeighted,
    Masked,
    PolicyWeighted,
    Weighted,
)

if TYPE_CHECKING:
    from assent.auditing import audit
    from assent.evaluation import evaluate
    from assent.reporting import report
    from assent.training import train

# verbs, imported when they are first used
_VERBS = {
    "audit": "assent.auditing",
    "evaluate": "assent.evaluation",
    "report": "assent.reporting",
    "train": "assent.training",
}

__all__ = [
    "AOT",
    "ASFT",
    "BCO",
    "CPO",
    "DPO",
    "DPOP",
    "EXO",
    "FDPO",
    "GRPO",
    "IPO",
    "KTO",
    "LCPO",
    "LDDPO",
    "NCA",
    "NPO",
    "ODPO",
    "ORPO",
    "RLOO",
    "SFT",
    "SPPO",
    "SRPO",
    "TDPO1",
    "TDPO2",
    "TGDPO",
    "AOTUnpaired",
    "APODown",
    "APOZero",
    "APOZeroUnpaired",
    "AlphaPO",
    "AssentError",
    "BCOPair",
    "BetaDPO",
    "BradleyTerry",
    "CalDPO",
    "CoLoR",
    "Column",
    "DPONorm",
    "DegreeReconstructed",
    "DifficultyCurriculum",
    "DifficultyFilter",
    "DifficultyWeight",
    "DiscoPOP",
    "DriftWeighted",
    "EXOGroup",
    "Example",
    "FlexDPO",
    "GammaDPO",
    "GradientAscent",
    "Group",
    "GroupScores",
    "Hinge",
    "InfoNCA",
    "Label",
    "Labels",
    "LengthDPO",
    "Logic",
    "MAPLInter",
    "MAPLIntra",
    "MarginWeighted",
    "MaskL1",
    "Masked",
    "MovingReference",
    "NCAGroup",
    "Objective",
    "Pair",
    "PairScores",
    "PlackettLuce",
    "PolicyWeighted",
    "Rationale",
    "Retain",
    "RetainKL",
    "SLiC",
    "SPPOGroup",
    "SPPOSoft",
    "SamPO",
    "Scores",
    "SimNPO",
    "SimPO",
    "Smooth",
    "SparsePO",
    "Tokens",
    "Unbiased",
    "Weighted",
    "__version__",
    "audit",
    "evaluate",
    "objectives",
    "parse",
    "report",
    "train",
]


def __getattr__(name: str) -> Any:
    if name in _VERBS:
        from importlib import import_module

        return getattr(import_module(_VERBS[name]), name)
    raise AttributeError(f"module 'assent' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
