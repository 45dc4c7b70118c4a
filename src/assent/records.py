"""What a row of preference data means: a pair with its labels, a labelled completion, a group.  Contract, part 1."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from assent.errors import AssentError

ANONYMOUS = "*"
"""The annotator's name where the data give none."""

Message = Mapping[str, Any]
Content = str | Sequence[Message]
"""Plain text, or a list of ``{"role": ..., "content": ...}`` messages."""


def _check_probability(name: str, value: float) -> None:
    if not 0.0 <= value <= 1.0:  # NaN fails too
        raise AssentError(f"{name} is {value!r}; expected a probability between 0 and 1")


def _check_weight(value: float) -> None:
    if not 0.0 <= value < float("inf"):
        raise AssentError(f"weight is {value!r}; expected a finite number that is not negative")


@dataclass(frozen=True, slots=True)
class Label:
    """One judgement of one pair by one annotator.

    p: the annotator's probability that the stored order (chosen before rejected) is right; 1/2 is a tie.
    weight: the row's weight; w stands for the row repeated w times.
    rows: 0-based positions in the input of the rows that this label came from.
    gold: known to be true; an anchor for the reliabilities of the others.
    """

    annotator: str = ANONYMOUS
    p: float = 1.0
    weight: float = 1.0
    rows: tuple[int, ...] = ()
    gold: bool = False

    def __post_init__(self) -> None:
        _check_probability("p", self.p)
        _check_weight(self.weight)


@dataclass(frozen=True, slots=True)
class Pair:
    """Two completions of one prompt and every label that they received.

    rejected_prompt: the rejected side's own prompt where it differs (MAPL); None means the same.
    margin: the rating gap of the data (not a model's).  logit: a model's score of the stored order, in nats.
    columns: further numbers of the pair by name, for objectives that need them.
    """

    prompt: Content
    chosen: Content
    rejected: Content
    labels: tuple[Label, ...] = (Label(),)
    rejected_prompt: Content | None = None
    margin: float | None = None
    score_chosen: float | None = None
    score_rejected: float | None = None
    rationale: str | None = None
    logit: float | None = None
    columns: Mapping[str, Any] = field(default_factory=dict)
    tools: Sequence[Any] | None = None

    def __post_init__(self) -> None:
        if not self.labels:
            raise AssentError("a pair needs at least one label; got none")

    @property
    def weight(self) -> float:
        """Sum of the labels' weights: training on the pair equals training on its rows."""
        return sum(label.weight for label in self.labels)

    @property
    def target(self) -> float:
        """P(stored order is right) as the data say: the weighted share of the labels."""
        total = self.weight
        if total == 0:
            return 0.5
        return sum(label.weight * label.p for label in self.labels) / total

    def swapped(self) -> Pair:
        """The same pair stored the other way round; applied twice it gives the pair back."""
        negate = lambda x: None if x is None else -x  # noqa: E731
        other = self.prompt if self.rejected_prompt is None else self.rejected_prompt
        return replace(
            self,
            prompt=other,
            chosen=self.rejected,
            rejected=self.chosen,
            rejected_prompt=None if self.rejected_prompt is None else self.prompt,
            labels=tuple(replace(label, p=1.0 - label.p) for label in self.labels),
            margin=negate(self.margin),
            logit=negate(self.logit),
            score_chosen=self.score_rejected,
            score_rejected=self.score_chosen,
        )


@dataclass(frozen=True, slots=True)
class Example:
    """One completion of a prompt: an SFT row (label None) or a labelled row (label True is desirable)."""

    prompt: Content
    completion: Content
    label: bool | None = None
    weight: float = 1.0
    row: int = 0
    annotator: str = ANONYMOUS
    columns: Mapping[str, Any] = field(default_factory=dict)
    tools: Sequence[Any] | None = None

    def __post_init__(self) -> None:
        _check_weight(self.weight)


@dataclass(frozen=True, slots=True)
class Group:
    """Several completions of one prompt with a score each (higher is better)."""

    prompt: Content
    completions: tuple[Content, ...]
    scores: tuple[float, ...]
    weight: float = 1.0
    row: int = 0
    columns: Mapping[str, Any] = field(default_factory=dict)
    tools: Sequence[Any] | None = None

    def __post_init__(self) -> None:
        _check_weight(self.weight)
        if len(self.completions) < 2:
            raise AssentError(f"a group needs at least two completions; got {len(self.completions)}")
        if len(self.completions) != len(self.scores):
            raise AssentError(
                f"a group has {len(self.completions)} completions and {len(self.scores)} scores; expected as many"
            )
