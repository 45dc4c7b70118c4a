"""XPO's optimism: samples of the reference become less likely, so that the policy looks elsewhere.  Xie et al., 2405.21046."""

from __future__ import annotations

from dataclasses import dataclass

from assent.objectives.base import Objective, PairwiseObjective
from assent.objectives.dpo import DPO
from assent.objectives.parts import Need, State, require
from assent.objectives.registry import alias, register
from assent.scores import PairScores
from assent.shapes import PerPair


@register
@dataclass(frozen=True)
class Optimism(PairwiseObjective):
    r"""Sum of log pi(y) over the pair's completions that a column marks; nats per sequence, to be minimised.

    column: how the names of the two columns begin, 1 where a side was drawn from the reference: from_reference_chosen and
    from_reference_rejected, which ``--mixture alternate`` gives.  The order of the pair plays no part.
    """

    column: str = "from_reference"
    name = "optimism"
    paper, equation = "2405.21046", "the optimistic term of Algorithm 1"

    def __post_init__(self) -> None:
        named = isinstance(self.column, str) and bool(self.column)
        require(named, "optimism", "column", self.column, "how the two columns' names begin")

    @property
    def needs(self) -> frozenset[Need]:
        return frozenset(Need("column", f"{self.column}_{side}") for side in ("chosen", "rejected"))

    def ordered(self, scores: PairScores, state: State) -> PerPair:
        marks = (scores.column(f"{self.column}_{side}").to(scores.chosen.logp) for side in ("chosen", "rejected"))
        chosen, rejected = marks
        return chosen * scores.chosen.logp + rejected * scores.rejected.logp


@alias
def xpo(beta: float = 0.1, alpha: float = 1e-5) -> Objective:
    """XPO: ``dpo(beta) + alpha*optimism()`` on pairs of one sample of the policy and one of the reference."""
    require(0 <= alpha < float("inf"), "xpo", "alpha", alpha, "a finite number, 0 or more")
    return DPO(beta) + alpha * Optimism() if alpha else DPO(beta)
