"""The unbiased correction for labels flipped at a known rate; over DPO it is rDPO.  Ray Chowdhury, arXiv:2403.00409."""

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
class Unbiased(Wrapper):
    r"""[(1 - eps) L(stored) - eps L(swapped)] / (1 - 2 eps).

    eps: known flip rate, in [0, 1/2); eps = 0 is the base loss.  Its mean over flips with rate eps is the loss of the
    clean label, exactly.  Over DPO it equals L(s) - s eps / (1 - 2 eps): unbounded below, pushes margins up.
    """

    base: Objective
    eps: float = 0.1
    name = "unbiased"
    paper, equation = "2403.00409", "the robust loss of section 3"

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 <= self.eps < 0.5, "unbiased", "eps", self.eps, "a number in [0, 0.5)")

    def ordered(self, scores: PairScores, state: State) -> PerPair:
        inner = within(state, "base")
        stored, swapped = self.base.ordered(scores, inner), self.base.ordered(scores.swapped(), inner)
        return ((1 - self.eps) * stored - self.eps * swapped) / (1 - 2 * self.eps)


@alias
def rdpo(beta: float = 0.1, eps: float = 0.1) -> Unbiased:
    """Provably robust DPO: ``unbiased(dpo(beta), eps)``.  Not the length-regularised R-DPO."""
    return Unbiased(DPO(beta), eps)


explain_foreign("rdpo", "label_smoothing", "the field is called eps")
explain_foreign("rdpo", "alpha", "rdpo is the robust DPO of 2403.00409; the length-regularised R-DPO has another name")
