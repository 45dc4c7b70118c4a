"""Label smoothing of any pairwise loss; over DPO it is cDPO: Mitchell, "A note on DPO with noisy preferences"."""

from __future__ import annotations

from dataclasses import dataclass

from assent.objectives.dpo import DPO
from assent.objectives.parts import State, require, within
from assent.objectives.registry import alias, explain_foreign, register
from assent.objectives.wrapper import Wrapper
from assent.scores import PairScores
from assent.shapes import PerPair


@register
@dataclass(frozen=True)
class Smooth(Wrapper):
    r"""(1 - eps) L(stored) + eps L(swapped).

    eps: assumed share of wrong labels, in [0, 1/2); eps = 0 is the base loss.  Pulls margins towards 0: over DPO its
    minimum lies at beta h = log((1 - eps) / eps).
    """

    base: Objective
    eps: float = 0.1
    name = "smooth"

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 <= self.eps < 0.5, "smooth", "eps", self.eps, "a number in [0, 0.5)")

    def ordered(self, scores: PairScores, state: State) -> PerPair:
        inner = within(state, "base")
        stored, swapped = self.base.ordered(scores, inner), self.base.ordered(scores.swapped(), inner)
        return (1 - self.eps) * stored + self.eps * swapped


@alias
def cdpo(beta: float = 0.1, eps: float = 0.1) -> Smooth:
    """Conservative DPO: ``smooth(dpo(beta), eps)``."""
    return Smooth(DPO(beta), eps)


explain_foreign("cdpo", "label_smoothing", "the field is called eps")
