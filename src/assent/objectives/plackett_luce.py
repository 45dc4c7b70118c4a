"""Plackett-Luce: DPO of a whole ranking.  Rafailov et al., arXiv:2305.18290, appendix A.3."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from assent.objectives.kinds import GroupObjective
from assent.objectives.parts import REFERENCE, Need, State, require
from assent.objectives.registry import register
from assent.scores import GroupScores
from assent.shapes import PerRow


@register
@dataclass(frozen=True)
class PlackettLuce(GroupObjective):
    r"""-sum_k log(e^r_k / sum of e^r_j over j ranked no higher than k), r = beta (log-ratio), nats per sequence.

    beta: as in dpo().  Ranks follow the data's scores, best first.  log K! at policy = reference without ties.
    Completions of equal scores stand in each other's sum (Breslow's rule), so their order in the data does not matter.
    Two completions give dpo(beta).
    """

    beta: float = 0.1
    name = "plackett_luce"
    paper, equation = "2305.18290", "appendix A.3"

    def __post_init__(self) -> None:
        require(0 < self.beta < float("inf"), "plackett_luce", "beta", self.beta, "a finite number above 0")

    @property
    def needs(self) -> frozenset[Need]:
        return frozenset({REFERENCE})

    def __call__(self, scores: GroupScores, state: State | None = None) -> PerRow:
        reward = self.beta * scores.completions.log_ratio
        same = scores.group[:, None] == scores.group[None, :]
        left = same & (scores.score[None, :] <= scores.score[:, None])
        rest = torch.logsumexp(torch.where(left, reward[None, :], float("-inf")), dim=1)
        return scores.sum_groups(rest - reward)
