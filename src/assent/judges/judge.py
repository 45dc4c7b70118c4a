"""The one interface of all judges, what they are asked, and what their answers are held to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from assent.errors import AssentError
from assent.records import Content

Numbers = NDArray[np.float64]


@dataclass
class Tally:
    """What a judge was asked and what that came to; counts only grow.

    asked: comparisons.  failed: those without an answer.  contradicted: those whose two orders of presentation gave opposite
    answers.  cached: answers that were there already.  calls, tokens, cost: of a remote judge, cost in its prices' unit.
    """

    asked: int = 0
    failed: int = 0
    contradicted: int = 0
    cached: int = 0
    calls: int = 0
    tokens: int = 0
    cost: float = 0.0

    def since(self, before: Tally) -> Tally:
        """What was added after ``before``."""
        return Tally(**{f.name: getattr(self, f.name) - getattr(before, f.name) for f in fields(self)})

    def copy(self) -> Tally:
        return Tally(**vars(self))


class Judge:
    """Base of judges.

    name: for logs and provenance.  tally: kept by ``ask`` and by judges that call others.
    scored: whether ``score`` gives a number for one completion alone.
    """

    name: str = "judge"
    scored: ClassVar[bool] = False

    @property
    def tally(self) -> Tally:
        if not hasattr(self, "_tally"):
            object.__setattr__(self, "_tally", Tally())
        return self._tally

    def prefer(self, prompts: Sequence[Content], a: Sequence[Content], b: Sequence[Content]) -> Numbers:
        """P(a is better) of each [n], float64 in [0, 1]; NaN where the judge has no answer.

        prefer(x, b, a) is 1 - prefer(x, a, b): a judge for whom the order of presentation matters asks both ways.
        """
        raise TypeError(f"{type(self).__name__} defines no preference")

    def score(self, prompts: Sequence[Content], completions: Sequence[Content]) -> Numbers:
        """A number for each completion [n], higher is better; NaN where the judge has no answer."""
        raise AssentError(
            f"the judge {self.name!r} compares two completions and scores none alone; pair at random or by ranks"
        )


@dataclass(frozen=True)
class Verdicts:
    """Checked answers: p [n] of P(a is better), 1/2 where there is none; known [n]: whether there was one."""

    p: Numbers
    known: NDArray[np.bool_]
    tally: Tally = field(default_factory=Tally)

    def __len__(self) -> int:
        return len(self.p)


def ask(judge: Judge, prompts: Sequence[Content], a: Sequence[Content], b: Sequence[Content]) -> Verdicts:
    """The judge's preferences, checked and counted.

    Raises AssentError for answers of another number or outside [0, 1]; NaN is a missing answer and is counted.
    """
    if not len(prompts) == len(a) == len(b):
        raise AssentError(
            f"the judge was given {len(prompts)} prompts, {len(a)} and {len(b)} completions; expected as many"
        )
    before = judge.tally.copy()
    p = np.asarray(judge.prefer(prompts, a, b), dtype=np.float64)
    if p.shape != (len(prompts),):
        raise AssentError(f"the judge {judge.name!r} gave answers of shape {p.shape} to {len(prompts)} questions")
    known = ~np.isnan(p)
    if wrong := [float(x) for x in p[known] if not 0.0 <= x <= 1.0]:
        raise AssentError(f"the judge {judge.name!r} gave {wrong[0]!r} as a probability; expected a number in [0, 1]")
    judge.tally.asked += len(p)
    judge.tally.failed += int((~known).sum())
    return Verdicts(np.where(known, p, 0.5), known, judge.tally.since(before))


def checked_scores(judge: Judge, prompts: Sequence[Content], completions: Sequence[Content]) -> Numbers:
    """The judge's scores [n]; AssentError for another number of them or an infinite one, NaN stays a missing answer."""
    found = np.asarray(judge.score(prompts, completions), dtype=np.float64)
    if found.shape != (len(prompts),):
        raise AssentError(f"the judge {judge.name!r} gave scores of shape {found.shape} for {len(prompts)} completions")
    if np.isinf(found).any():
        raise AssentError(
            f"the judge {judge.name!r} gave an infinite score; expected finite numbers, or NaN where it has none"
        )
    return found


def logistic(gap: Numbers) -> Numbers:
    """sigmoid of a gap in score, in nats; stable for any size."""
    return 0.5 * (1.0 + np.tanh(0.5 * gap))
