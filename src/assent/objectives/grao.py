"""GRAO: group-relative advantages of sampled completions and of a reference answer.  arXiv:2508.07750, equations 3 and 4."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from assent.objectives.kinds import GroupObjective
from assent.objectives.parts import LENGTH, Need, State, require
from assent.objectives.policy_gradient import advantages
from assent.objectives.registry import explain_foreign, register
from assent.scores import GroupScores
from assent.shapes import PerRow


@register
@dataclass(frozen=True)
class GRAO(GroupObjective):
    r"""-(1/G) sum_i [A_i J_i + beta A_y J_y + lam A_i (J_i - J_y)], J the mean log-probability of a completion's tokens.

    The last completion of a group is the reference answer y (``--logged group``), the G before it are samples, their score is
    how they compare with it.  A: score less mean over population standard deviation of all G + 1, so that
    sum_i A_i = -A_y and the loss is -[(1 + lam)/G sum_i A_i J_i + (beta + lam/G) A_y J_y]: two effective weights, not three.
    beta: weight of the answer, .5.  lam: weight of the difference, .6.  floor: smallest A_y, such as 0, which keeps an answer
    that the samples beat from being unlearned without end; None (the paper) has none.  Equal scores give no gradient.
    """

    beta: float = 0.5
    lam: float = 0.6
    floor: float | None = None
    name = "grao"
    paper, equation = "2508.07750", "3 and 4"

    def __post_init__(self) -> None:
        require(0 <= self.beta < float("inf"), "grao", "beta", self.beta, "a finite number, 0 or more")
        require(0 <= self.lam < float("inf"), "grao", "lam", self.lam, "a finite number, 0 or more")
        require(self.floor is None or self.floor <= 0, "grao", "floor", self.floor, "a number, 0 or less, or None")

    @property
    def needs(self) -> frozenset[Need]:
        return frozenset({LENGTH})

    def __call__(self, scores: GroupScores, state: State | None = None) -> PerRow:
        side = scores.completions
        mean = side.logp / side.length
        advantage = advantages(scores, scores.score.to(mean), "std")
        answer = torch.ones_like(scores.group, dtype=torch.bool)
        answer[:-1] = scores.group[:-1] != scores.group[1:]
        samples = scores.sum_groups((~answer).to(mean)).clamp_min(1)[scores.group]
        bounded = advantage if self.floor is None else advantage.clamp_min(self.floor)
        weight = torch.where(answer, (self.beta + self.lam / samples) * bounded, (1 + self.lam) / samples * advantage)
        return -scores.sum_groups(weight * mean)


explain_foreign("grao", "lambda", "the field is called lam")
