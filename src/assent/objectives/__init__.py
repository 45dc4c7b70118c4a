"""Scores in, one loss per row out: one file per paper family."""

from assent.objectives.algebra import Sum
from assent.objectives.alphapo import AlphaPO
from assent.objectives.anchored import Anchored
from assent.objectives.aot import AOT, AOTUnpaired
from assent.objectives.apo import APODown, APOZero, APOZeroUnpaired
from assent.objectives.asft import ASFT
from assent.objectives.base import Objective, PairwiseObjective, Term
from assent.objectives.bco import BCO, BCOPair
from assent.objectives.beta_dpo import BetaDPO
from assent.objectives.bradley_terry import BradleyTerry
from assent.objectives.cal_dpo import CalDPO
from assent.objectives.color import CoLoR
from assent.objectives.cpo import CPO
from assent.objectives.discopop import DiscoPOP
from assent.objectives.dpo import DPO
from assent.objectives.dpo_norm import DPONorm
from assent.objectives.dpop import DPOP
from assent.objectives.exo import EXO, EXOGroup
from assent.objectives.f_dpo import FDPO
from assent.objectives.flex_dpo import FlexDPO
from assent.objectives.forward_kl import ForwardKL
from assent.objectives.gamma_dpo import GammaDPO
from assent.objectives.grao import GRAO
from assent.objectives.ipo import IPO
from assent.objectives.ipo_soft import IPOSoft
from assent.objectives.irepo import IREPO
from assent.objectives.kto import KTO
from assent.objectives.ld_dpo import LDDPO
from assent.objectives.mapl import MAPLInter, MAPLIntra
from assent.objectives.mask_l1 import MaskL1
from assent.objectives.moving import MovingReference
from assent.objectives.nca import NCA, InfoNCA, NCAGroup
from assent.objectives.npo import NPO, GradientAscent, SimNPO
from assent.objectives.odpo import ODPO
from assent.objectives.optimism import Optimism
from assent.objectives.orpo import ORPO
from assent.objectives.osp import osp_reconstructed
from assent.objectives.parse import parse
from assent.objectives.parts import Need, RunInfo
from assent.objectives.plackett_luce import PlackettLuce
from assent.objectives.policy_gradient import GRPO, RLOO
from assent.objectives.ppo import PPO
from assent.objectives.r_dpo import LengthDPO
from assent.objectives.rationale import Rationale
from assent.objectives.reduction import combine, partial_sums, step_loss
from assent.objectives.registry import aliases, objectives
from assent.objectives.regret import Regret
from assent.objectives.retain import Retain, RetainKL
from assent.objectives.rpo import rpo_average
from assent.objectives.sampo import SamPO
from assent.objectives.sft import SFT
from assent.objectives.simpo import SimPO
from assent.objectives.slic import Hinge, SLiC
from assent.objectives.sparsepo import SparsePO
from assent.objectives.spo_degree import DegreeReconstructed
from assent.objectives.sppo import SPPO, SPPOGroup, SPPOSoft
from assent.objectives.srpo import SRPO
from assent.objectives.tdpo import TDPO1, TDPO2
from assent.objectives.tgdpo import TGDPO
from assent.objectives.wrapper import Wrapper

__all__ = [
    "AOT",
    "ASFT",
    "BCO",
    "CPO",
    "DPO",
    "DPOP",
    "EXO",
    "FDPO",
    "GRAO",
    "GRPO",
    "IPO",
    "IREPO",
    "KTO",
    "LDDPO",
    "NCA",
    "NPO",
    "ODPO",
    "ORPO",
    "PPO",
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
    "Anchored",
    "BCOPair",
    "BetaDPO",
    "BradleyTerry",
    "CalDPO",
    "CoLoR",
    "DPONorm",
    "DegreeReconstructed",
    "DiscoPOP",
    "EXOGroup",
    "FlexDPO",
    "ForwardKL",
    "GammaDPO",
    "GradientAscent",
    "Hinge",
    "IPOSoft",
    "InfoNCA",
    "LengthDPO",
    "MAPLInter",
    "MAPLIntra",
    "MaskL1",
    "MovingReference",
    "NCAGroup",
    "Need",
    "Objective",
    "Optimism",
    "PairwiseObjective",
    "PlackettLuce",
    "Rationale",
    "Regret",
    "Retain",
    "RetainKL",
    "RunInfo",
    "SLiC",
    "SPPOGroup",
    "SPPOSoft",
    "SamPO",
    "SimNPO",
    "SimPO",
    "SparsePO",
    "Sum",
    "Term",
    "Wrapper",
    "aliases",
    "combine",
    "objectives",
    "osp_reconstructed",
    "parse",
    "partial_sums",
    "rpo_average",
    "step_loss",
]
