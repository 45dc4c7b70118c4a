"""A reference that follows the policy; over DPO it is TR-DPO.  Gorbatovski et al., arXiv:2404.09656."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from assent.errors import AssentError
from assent.objectives.base import Objective
from assent.objectives.dpo import DPO
from assent.objectives.parts import Need, RunInfo, State, require, within
from assent.objectives.registry import alias, explain_foreign, register
from assent.objectives.wrapper import Wrapper
from assent.scores import PairScores
from assent.shapes import PerPair

MOVING = Need("moving_reference")
"""Who trains moves the reference's weights after a step as ``share_after`` says."""


@register
@dataclass(frozen=True)
class MovingReference(Wrapper):
    """L, with weights of the reference that become share policy + (1 - share) reference after every ``every`` steps.

    share: .6 ("soft"); 1 replaces the reference ("hard").  every: optimiser steps, 512; both TRL's values for the paper.
    Reference log-probabilities cannot be computed beforehand.  A run shorter than ``every`` is plain L.
    """

    base: Objective
    share: float = 0.6
    every: int = 512
    name = "moving_reference"
    paper, equation = "2404.09656", "the soft and hard updates of the reference"

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 < self.share <= 1, self.name, "share", self.share, "a number in (0, 1] (alpha)")
        whole = isinstance(self.every, int) and self.every >= 1
        require(whole, self.name, "every", self.every, "a whole number of steps, 1 or more (tau)")
        if not any(need.kind == "reference" for need in self.base.needs):
            raise AssentError(f"moving_reference({self.base!s}): the loss reads no reference; leave the wrapper out")

    @property
    def needs(self) -> frozenset[Need]:
        return self.base.needs | {MOVING}

    def init(self, info: RunInfo) -> State:
        """step [] int64: optimiser steps done; and the base's own state."""
        return {"step": torch.zeros((), dtype=torch.int64)} | super().init(info)

    def sums(self, scores: PairScores, state: State) -> dict[str, Tensor]:
        """The step's row weights: a step that has rows is a step; and what the base sums."""
        return {"weight": self.weights(scores).detach().sum()} | super().sums(scores, state)

    def update(self, state: State, sums: Mapping[str, Tensor]) -> State:
        return {"step": state["step"] + 1} | super().update(state, sums)

    def share_after(self, state: State) -> float:
        """How far the reference moves towards the policy now, the step of ``state`` being the last; 0 for not at all."""
        step = int(state["step"])
        return self.share if step > 0 and step % self.every == 0 else 0.0

    def ordered(self, scores: PairScores, state: State) -> PerPair:
        return self.base.ordered(scores, within(state, "base"))

    def induced_logit(self, scores: PairScores, state: State) -> PerPair:
        return self.base.induced_logit(scores, within(state, "base"))


@alias
def tr_dpo(beta: float = 0.1, share: float = 0.6, every: int = 512) -> MovingReference:
    """TR-DPO: ``moving_reference(dpo(beta), share, every)``."""
    return MovingReference(DPO(beta), share, every)


explain_foreign("tr_dpo", "ref_model_mixup_alpha", "the field is called share")
explain_foreign("tr_dpo", "ref_model_sync_steps", "the field is called every")
