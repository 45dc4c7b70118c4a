"""SFT: negative log-likelihood of the completion, alone or beside a preference loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from assent.objectives.base import Objective, PairwiseObjective
from assent.objectives.parts import LENGTH, Need, RunInfo, State, require
from assent.objectives.registry import register
from assent.scores import PairScores, Scores
from assent.shapes import PerCompletion, PerPair, PerRow


class Likelihood(Objective):
    """The NLL of a completion in nats and what its mean divides by, told by the field ``per``."""

    per: str

    def __post_init__(self) -> None:
        allowed = ("token", "sequence", "batch_token")
        require(self.per in allowed, self.name, "per", self.per, "'token', 'sequence' or 'batch_token'")

    @property
    def mean_over(self) -> Literal["row", "token"]:
        return "token" if self.per == "batch_token" else "row"

    @property
    def needs(self) -> frozenset[Need]:
        return frozenset() if self.per == "sequence" else frozenset({LENGTH})

    def nll(self, side: Scores) -> PerCompletion:
        """[C]; per counted token where ``per`` is "token", else per sequence."""
        return -side.per_token(side.logp) if self.per == "token" else -side.logp


@register
@dataclass(frozen=True)
class SFT(Likelihood, PairwiseObjective):
    r"""NLL of the completion (of the chosen side for pairs), in nats.

    per: "token" is each row's mean over its counted tokens, then the mean over rows; "sequence" the sum over
    a row's tokens; "batch_token" the mean over all counted tokens of the step.
    """

    per: str = "token"
    name = "sft"
    data = "completions"

    def ordered(self, scores: PairScores, state: State) -> PerPair:
        return self.nll(scores.chosen)

    def __call__(self, scores: PairScores | Scores, state: State | None = None) -> PerRow:
        if isinstance(scores, Scores):
            return self.nll(scores)
        return super().__call__(scores, self.init(RunInfo()) if state is None else state)

    def counts(self, scores: PairScores | Scores) -> PerRow:
        weights = Objective.weights(self, scores)
        if self.mean_over == "row":
            return weights
        if isinstance(scores, Scores):
            return weights * scores.length
        tokens = scores.chosen.length.to(weights)
        if scores.target is not None:
            target = scores.target.to(weights)
            tokens = target * tokens + (1 - target) * scores.rejected.length
        return weights * tokens
