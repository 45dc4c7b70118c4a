"""Kinds of objectives: pairs by implicit rewards, single labelled completions, and groups of completions."""

from __future__ import annotations

from typing import ClassVar

from assent.objectives.base import Objective, PairwiseObjective
from assent.objectives.parts import REFERENCE, Need, RunInfo, State, require
from assent.scores import GroupScores, PairScores, Scores
from assent.shapes import PerCompletion, PerPair, PerRow


class RewardObjective(PairwiseObjective):
    """A loss of pairs in the implicit rewards r = beta x, x the log-ratio to the reference in nats per sequence."""

    beta: float

    def __post_init__(self) -> None:
        require(0 < self.beta < float("inf"), self.name, "beta", self.beta, "a finite number above 0")

    @property
    def needs(self) -> frozenset[Need]:
        return frozenset({REFERENCE})

    def margin(self, scores: PairScores) -> PerPair:
        """Chosen minus rejected reward [P] in nats."""
        return self.beta * scores.log_ratio_gap

    def rewards(self, scores: PairScores) -> tuple[PerPair, PerPair]:
        return self.beta * scores.chosen.log_ratio, self.beta * scores.rejected.log_ratio


class LabelledObjective(Objective):
    """An objective of single completions, each labelled desirable or not; pairs are read as two labelled completions.

    reads: the labels that must occur among the rows.
    """

    data = "labelled"
    reads: ClassVar[tuple[bool, ...]] = (True, False)

    def sided(self, scores: Scores, state: State) -> tuple[PerCompletion, PerCompletion]:
        """The losses [C] of every completion if it is desirable, and if it is not."""
        raise TypeError(f"{type(self).__name__} defines no loss of a labelled completion")

    def reward(self, scores: Scores) -> PerCompletion:
        """Implicit reward of each completion [C] in nats, for logging."""
        return scores.logp if scores.ref_logp is None else scores.log_ratio

    def __call__(self, scores: Scores, state: State | None = None) -> PerCompletion:
        """The loss of each completion [C] under its label; a label between 0 and 1 mixes the two."""
        state = self.init(RunInfo()) if state is None else state
        desirable, undesirable = self.sided(scores, state)
        label = scores.column("label").to(desirable)
        return label * desirable + (1 - label) * undesirable


def log_softmax(scores: GroupScores, values: PerCompletion) -> PerCompletion:
    """``values`` [C] less the log of the sum of their exponentials over the group -> [C], nats."""
    return scores.log_softmax(values)


class GroupObjective(Objective):
    """An objective of groups of completions of one prompt, one loss per group [G]."""

    data = "groups"

    def __call__(self, scores: GroupScores, state: State | None = None) -> PerRow:
        raise TypeError(f"{type(self).__name__} defines no loss of a group")
