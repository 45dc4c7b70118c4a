"""Objectives of other rows than pairs: single labelled completions, and groups of completions."""

from __future__ import annotations

from assent.objectives.base import Objective
from assent.objectives.parts import RunInfo, State
from assent.scores import GroupScores, Scores
from assent.shapes import PerCompletion, PerRow


class LabelledObjective(Objective):
    """An objective of single completions, each labelled desirable or not; pairs are read as two labelled completions."""

    data = "labelled"

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


class GroupObjective(Objective):
    """An objective of groups of completions of one prompt, one loss per group [G]."""

    data = "groups"

    def __call__(self, scores: GroupScores, state: State | None = None) -> PerRow:
        raise TypeError(f"{type(self).__name__} defines no loss of a group")
