"""Several judges as one: the share of them that prefers a."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from assent.errors import AssentError
from assent.judges.judge import Judge, Numbers, ask
from assent.records import Content


@dataclass(frozen=True)
class Majority(Judge):
    """P(a is better) = the share of judges that prefer a; a judge's tie counts half, one without an answer does not count.

    mean: take the mean of the probabilities instead.  Pairs on which two judges name different completions are counted as
    contradicted: the disagreement of the panel.
    """

    judges: tuple[Judge, ...]
    mean: bool = False
    name: str = "majority"

    def __post_init__(self) -> None:
        if len(self.judges) < 2:
            raise AssentError(f"a majority of {len(self.judges)} judges; expected at least 2")

    def prefer(self, prompts: Sequence[Content], a: Sequence[Content], b: Sequence[Content]) -> Numbers:
        verdicts = [ask(judge, prompts, a, b) for judge in self.judges]
        p, known = np.stack([v.p for v in verdicts]), np.stack([v.known for v in verdicts])
        votes = p if self.mean else 0.5 * (1 + np.sign(p - 0.5))
        for_a, for_b = ((p > 0.5) & known).any(0), ((p < 0.5) & known).any(0)
        self.tally.contradicted += int((for_a & for_b).sum())
        count = known.sum(0)
        return np.where(count > 0, (votes * known).sum(0) / np.maximum(count, 1), np.nan)
