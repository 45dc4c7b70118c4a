"""Judges that compare: any function of two completions, made free of the order of presentation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from assent.judges.judge import Judge, Numbers
from assent.records import Content

PairFunction = Callable[[Sequence[Content], Sequence[Content], Sequence[Content]], Sequence[float]]
"""(prompts, first, second) -> P(the first is better) each, or NaN."""

SHOWN = """<prompt>
{prompt}
</prompt>

<answer-A>
{first}
</answer-A>

<answer-B>
{second}
</answer-B>
"""
"""How questions to a model show a prompt and two answers."""


def both_orders(first: Numbers, second: Numbers) -> tuple[Numbers, int]:
    """P(a is better) from the answers with a shown first and with a shown second, and how many pairs of answers disagree.

    The mean of the two; 1/2 where they name different completions, the one answer where the other is missing.
    """
    turned = 1.0 - second
    contradicted = (first - 0.5) * (turned - 0.5) < 0
    mean = np.where(np.isnan(first), turned, np.where(np.isnan(turned), first, (first + turned) / 2))
    return np.where(contradicted, 0.5, mean), int(contradicted.sum())


@dataclass(frozen=True)
class PairwiseJudge(Judge):
    """A general preference, cycles and all, from a function of two completions.

    both: ask in both orders of presentation and take the mean; a pair whose two answers name different completions is a
    tie and is counted.  Without it the function must be symmetric itself.
    """

    function: PairFunction
    name: str = "pairs"
    both: bool = True

    def prefer(self, prompts: Sequence[Content], a: Sequence[Content], b: Sequence[Content]) -> Numbers:
        first = np.asarray(self.function(prompts, a, b), dtype=np.float64)
        if not self.both:
            return first
        p, contradicted = both_orders(first, np.asarray(self.function(prompts, b, a), dtype=np.float64))
        self.tally.contradicted += contradicted
        return p
