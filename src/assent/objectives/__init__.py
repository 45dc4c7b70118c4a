"""Scores in, one loss per row out: one file per paper family."""

from assent.objectives.algebra import Sum
from assent.objectives.base import Objective, PairwiseObjective, Term
from assent.objectives.bco import BCO, BCOPair
from assent.objectives.cpo import CPO
from assent.objectives.dpo import DPO
from assent.objectives.ipo import IPO
from assent.objectives.kto import KTO
from assent.objectives.ld_dpo import LDDPO
from assent.objectives.parse import parse
from assent.objectives.parts import Need, RunInfo
from assent.objectives.reduction import combine, partial_sums, step_loss
from assent.objectives.registry import aliases, objectives
from assent.objectives.sampo import SamPO
from assent.objectives.sft import SFT
from assent.objectives.simpo import SimPO
from assent.objectives.tdpo import TDPO1, TDPO2
from assent.objectives.wrapper import Wrapper

__all__ = [
    "BCO",
    "CPO",
    "DPO",
    "IPO",
    "KTO",
    "LDDPO",
    "SFT",
    "TDPO1",
    "TDPO2",
    "BCOPair",
    "Need",
    "Objective",
    "PairwiseObjective",
    "RunInfo",
    "SamPO",
    "SimPO",
    "Sum",
    "Term",
    "Wrapper",
    "aliases",
    "combine",
    "objectives",
    "parse",
    "partial_sums",
    "step_loss",
]
