"""ODPO: DPO with an offset that grows with the scores' gap.  Amini et al., arXiv:2402.10571."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from assent.errors import AssentError
from assent.objectives.kinds import RewardObjective
from assent.objectives.parts import Need, State, require
from assent.objectives.primitives import logistic
from assent.objectives.registry import explain_foreign, register
from assent.scores import PairScores
from assent.shapes import PerPair


@register
@dataclass(frozen=True)
class ODPO(RewardObjective):
    r"""-log sigmoid(beta h - alpha f(g)), h = chosen minus rejected log-ratio in nats, g = gap of the data's scores.

    beta: as in dpo().  alpha: size of the offset, in nats; 1 as in the authors' code, 0 is dpo(beta).
    f: "log" is log g (the paper's), "linear" is g itself.  column: the gap, chosen minus rejected score.
    The paper has g > 0.  For the swapped order the offset changes its sign, and g = 0 has none: choices made here.
    """

    beta: float = 0.1
    alpha: float = 1.0
    f: str = "log"
    column: str = "margin"
    name = "odpo"
    paper = "2402.10571"

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 <= self.alpha < float("inf"), "odpo", "alpha", self.alpha, "a finite number, 0 or more")
        require(self.f in ("log", "linear"), "odpo", "f", self.f, "'log' or 'linear'")
        if not isinstance(self.column, str) or not self.column:
            raise AssentError(f"odpo: column is {self.column!r}; expected the name of a numeric column of the data")

    @property
    def needs(self) -> frozenset[Need]:
        return super().needs | {Need("column", self.column)}

    def _logit(self, scores: PairScores) -> PerPair:
        margin = self.margin(scores)
        gap = scores.column(self.column).to(margin)
        if self.f == "log":
            gap = gap.sign() * torch.where(gap == 0, 1.0, gap.abs()).log()
        return margin - self.alpha * gap

    def ordered(self, scores: PairScores, state: State) -> PerPair:
        return logistic(self._logit(scores))

    def induced_logit(self, scores: PairScores, state: State) -> PerPair:
        return self._logit(scores)


explain_foreign("odpo", "offset", "the offset is alpha f(gap), with the gap in a column: odpo(alpha, column='margin')")
