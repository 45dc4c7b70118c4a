"""Weights that fall as the chosen completion drifts from its prompt; over DPO it is Sem-DPO.  arXiv:2507.20133."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

from assent.objectives.base import Objective
from assent.objectives.dpo import DPO
from assent.objectives.parts import Need, State, require, within
from assent.objectives.registry import alias, register
from assent.objectives.wrapper import Wrapper
from assent.scores import PairScores
from assent.shapes import PerPair


def cosine_distance(one: Float[Tensor, "n d"], other: Float[Tensor, "n d"]) -> Float[Tensor, n]:
    """1 - cosine of the rows of two sets of embeddings, in [0, 2] whatever the rounding; halves are read as float32."""
    wide = [x if x.dtype.itemsize > 2 else x.float() for x in (one, other)]
    return 1 - (normalize(wide[0], dim=-1) * normalize(wide[1], dim=-1)).sum(-1).clamp(-1, 1)


@register
@dataclass(frozen=True)
class DriftWeighted(Wrapper):
    r"""W L, W = e^(-alpha d), d the cosine distance between the embeddings of the prompt and of the chosen completion.

    column: name of d for the chosen side, such as "distance_chosen"; the swapped order then reads "distance_rejected".
        One value for both orders weighs pairs without moving any pair's optimum.
    alpha: 0 leaves L; the paper's is [not found].  W is part of the loss and not renormalised: its mean scales the step.
    Where both orders of a pair occur, the optimum is that of the reward less alpha d.
    """

    base: Objective
    alpha: float = 1.0
    column: str = "distance_chosen"
    name = "drift_weighted"
    paper, equation = "2507.20133", "the semantically weighted loss"

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 <= self.alpha < float("inf"), self.name, "alpha", self.alpha, "a finite number, 0 or more")
        named = isinstance(self.column, str) and self.column != ""
        require(named, self.name, "column", self.column, "the name of a numeric column of the data")

    @property
    def needs(self) -> frozenset[Need]:
        return self.base.needs | {Need("column", self.column)}

    def weight(self, scores: PairScores) -> PerPair:
        """W [P], without gradient."""
        return (-self.alpha * scores.column(self.column).detach().to(scores.chosen.logp)).exp()

    def ordered(self, scores: PairScores, state: State) -> PerPair:
        return self.weight(scores) * self.base.ordered(scores, within(state, "base"))


@alias
def sem_dpo(beta: float = 0.1, alpha: float = 1.0, column: str = "distance_chosen") -> DriftWeighted:
    """Sem-DPO: ``drift_weighted(dpo(beta), alpha, column)``."""
    return DriftWeighted(DPO(beta), alpha, column)
