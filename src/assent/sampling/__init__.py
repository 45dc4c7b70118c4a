"""Sources that make data: sampling from policies, mixtures and the best of several."""

from __future__ import annotations

from assent.sampling.generation import Completion, Generator, ModelGenerator
from assent.sampling.mixtures import Alternating, SequenceMixture, best_of, geometric, linear
from assent.sampling.revision import revise
from assent.sampling.settings import SamplingSettings
from assent.sampling.texts import Texts

__all__ = [
    "Alternating",
    "Completion",
    "Generator",
    "ModelGenerator",
    "SamplingSettings",
    "SequenceMixture",
    "Texts",
    "best_of",
    "geometric",
    "linear",
    "revise",
]
