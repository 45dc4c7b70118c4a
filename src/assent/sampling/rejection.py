"""Statistical rejection sampling: of scored candidates, some that look drawn from policy x exp(score / temperature).

Liu et al., arXiv:2309.06657, equations 13 and 14 and the listing of appendix A.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from assent.errors import AssentError
from assent.sampling.judged import Counts, Judged, draws_of, text_of


@dataclass(frozen=True)
class Rejection:
    """keep: completions of a prompt that stay.  temperature: in units of the judge's score; 0 keeps the best."""

    keep: int = 8
    temperature: float = 0.5

    def __post_init__(self) -> None:
        if self.keep < 2 or not 0 <= self.temperature < float("inf"):
            raise AssentError(
                f"rejection keeps {self.keep} completions at temperature {self.temperature}; expected at least 2, and a finite "
                "number of at least 0"
            )

    @classmethod
    def parse(cls, text: str) -> Rejection:
        """From "KEEP:TEMPERATURE", such as "8:0.5"."""
        first, _, second = text.partition(":")
        try:
            keep, temperature = int(first), float(second)
        except ValueError:
            raise AssentError(f"rejection is {text!r}; expected KEEP:TEMPERATURE, such as 8:0.5") from None
        return cls(keep, temperature)


def chances(scores: np.ndarray, temperature: float) -> np.ndarray:
    """exp((score - largest) / temperature) [n]: the chance of each candidate in one pass; the best is always accepted."""
    below = scores - scores.max()
    return (below == 0).astype(float) if temperature == 0 else np.exp(below / temperature)


def accept(scores: Sequence[float] | np.ndarray, rule: Rejection, draws: np.random.Generator) -> list[int]:
    """Numbers of at most ``keep`` of the candidates with these finite scores, in the order of acceptance.

    Passes go over the candidates that are left, in an order that is drawn once; the largest score among them is fixed for a
    pass, as in the authors' listing.  Every pass accepts one at least.
    """
    scores = np.asarray(scores, dtype=np.float64)
    left, found = draws.permutation(len(scores)), []
    while len(left) and len(found) < rule.keep:
        taken = draws.random(len(left)) < chances(scores[left], rule.temperature)
        found += left[taken].tolist()
        left = left[~taken]
    return found[: rule.keep]


def reject(groups: Sequence[Judged], rule: Rejection, seed: int, counts: Counts) -> None:
    """Leave in every group the accepted completions alone; repeated texts are one candidate, those without a score none."""
    for group in groups:
        first = {text_of(group, k): k for k in reversed(np.flatnonzero(group.usable).tolist())}
        candidates = sorted(k for k in first.values() if not np.isnan(group.score[k]))
        taken = accept(group.score[candidates], rule, draws_of(seed, group.prompt, "accept")) if candidates else []
        kept = np.isin(np.arange(len(group.usable)), [candidates[i] for i in taken])
        counts.rejected += int((group.usable & ~kept).sum())
        group.usable &= kept
