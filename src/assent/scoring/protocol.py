"""What every scorer is: rows in, scores out, and a list of what it can provide.  Contract, part 2."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol, runtime_checkable

from assent.errors import AssentError
from assent.objectives.base import Need, Objective
from assent.scores import GroupScores, PairScores, Scores


@runtime_checkable
class Scorer(Protocol):
    """Turns rows (token pairs, token examples, ...) into scores.

    provides: what it can meet: kinds of ``Need`` such as "reference", "length", "tokens", "entropy", "sum_sq", "kl_ref",
    "column", "view" or "mask", or single needs such as ``Need("token_column", "id")``.
    """

    @property
    def provides(self) -> frozenset[str | Need]: ...

    def scores(self, rows: Sequence[Any], needs: Iterable[Need] | None = None) -> PairScores | Scores | GroupScores:
        """The scores of the rows, in their order; ``needs`` None means all that costs no further pass."""
        ...


WAYS = {
    "reference": "give a reference model or leave the reference to the start of the policy",
    "kl_ref": "keep the reference live: full-vocabulary divergences cannot be precomputed",
    "moving_reference": "train all weights, with a second model as the reference",
    "entropy": "use a scorer with normalised next-token probabilities",
    "sum_sq": "use a scorer with normalised next-token probabilities",
    "mask": "keep the reference live: masks are learned from its hidden states",
    "token_column": "give a guide (--guide MODEL gives the column 'guide') or token_columns={NAME: function} in Python",
}


def check_needs(objective: Objective, scorer: Scorer, later: Iterable[str] = ()) -> None:
    """Refuse by name, before anything runs, an objective that needs what the scorer cannot give.

    later: kinds of needs that are settled when the reference is known.

    Raises AssentError naming the part of the expression, the need, and what the scorer provides.
    """
    for part in reversed(objective.walk()):  # innermost first: name the part that asks, not its wrapper
        for need in sorted(part.needs):
            if need.kind in scorer.provides or need in scorer.provides or need.kind in later:
                continue
            known = ", ".join(sorted(map(str, scorer.provides))) or "nothing"
            way = WAYS.get(need.kind, "choose another objective or scorer")
            raise AssentError(f"objective {part} needs {need}; this scorer provides {known}: {way}")
