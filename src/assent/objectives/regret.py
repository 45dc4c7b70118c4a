"""The regret loss on one round: what a group's policy loses against its best completion.  Park et al., arXiv:2403.16843."""

from __future__ import annotations

from dataclasses import dataclass

from assent.objectives.kinds import GroupObjective
from assent.objectives.parts import Need, State, require
from assent.objectives.registry import register
from assent.scores import GroupScores
from assent.shapes import PerRow


@register
@dataclass(frozen=True)
class Regret(GroupObjective):
    r"""(max_i r_i - sum_i pi_i r_i)^power, pi the policy's shares of the group's completions, r the data's scores.

    power: of the outer function h(x) = x^power, 2.  Shares are softmaxes of sequence log-probabilities; no reference is read.
    The paper's loss with one round and one sequence of losses -r; `assent.games.regret` has it over many.  0 where the policy
    is at the best completion, or all scores are equal.
    """

    power: float = 2.0
    name = "regret"
    paper, equation = "2403.16843", "the regret loss, T = N = 1"

    def __post_init__(self) -> None:
        require(1 <= self.power < float("inf"), self.name, "power", self.power, "a finite number, 1 or more")

    @property
    def needs(self) -> frozenset[Need]:
        return frozenset()

    def __call__(self, scores: GroupScores, state: State | None = None) -> PerRow:
        pi = scores.softmax(scores.completions.logp)
        reward = scores.score.to(pi)
        best = reward.new_full((len(scores),), float("-inf")).scatter_reduce(0, scores.group, reward, "amax")
        missed = scores.sum_groups(pi * (best[scores.group] - reward))  # never below 0, unlike the difference of sums
        return missed**self.power
