"""A pool of annotators of given reliability over another judge: one truth per pair, labels that may be wrong.  For LCPO."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from assent.data.fields import key
from assent.errors import AssentError
from assent.judges.judge import Judge, Numbers, ask
from assent.records import Content, Label


@dataclass(frozen=True)
class AnnotatorPool(Judge):
    """Labels of simulated annotators: each names the pair's latent order with the probability of its reliability.

    truth: the judge whose P(a is better) the latent order of a pair is drawn from, once per pair.
    reliability: annotator -> probability that a label names the latent order.  labels: labels of a pair.  twice: share of pairs
    that get one label more.  All draws follow from the seed and the pair's words, so that a pair is judged alike whenever
    it is asked for, whatever the order of presentation.
    """

    truth: Judge
    reliability: Mapping[str, float]
    seed: int = 0
    labels: int = 1
    twice: float = 0.0
    name: str = "annotators"
    _names: tuple[str, ...] = field(init=False, repr=False, default=())

    def __post_init__(self) -> None:
        wrong = {name: r for name, r in self.reliability.items() if not 0 <= r <= 1}
        if wrong or not self.reliability:
            raise AssentError(
                f"the pool's reliabilities are {dict(self.reliability)}; expected at least one number in [0, 1]"
            )
        if not 1 <= self.labels <= len(self.reliability) or not 0 <= self.twice <= 1:
            raise AssentError(
                f"the pool gives {self.labels} labels a pair and one more to a share of {self.twice}; expected 1 to "
                f"{len(self.reliability)} labels and a share in [0, 1]"
            )
        object.__setattr__(self, "_names", tuple(sorted(self.reliability)))

    def label(self, prompts: Sequence[Content], a: Sequence[Content], b: Sequence[Content]) -> list[tuple[Label, ...]]:
        """The labels of each pair; p is 1 where the annotator says that a is better and 0 where b is.

        A pair on which the truth has no answer gets none.
        """
        truth = ask(self.truth, prompts, a, b)
        return [
            self._labels(x, first, second, p) if known else ()
            for x, first, second, p, known in zip(prompts, a, b, truth.p, truth.known, strict=True)
        ]

    def prefer(self, prompts: Sequence[Content], a: Sequence[Content], b: Sequence[Content]) -> Numbers:
        """The mean of the labels."""
        return np.array([
            np.mean([label.p for label in labels]) if labels else np.nan for labels in self.label(prompts, a, b)
        ])  # fmt: skip

    def _labels(self, prompt: Content, a: Content, b: Content, p: float) -> tuple[Label, ...]:
        words = key(a) or "", key(b) or ""
        turned = words[0] > words[1]
        draws = _draws(self.seed, key(prompt) or "", *sorted(words))
        # whether the one that comes first in the alphabet is better: the same question in either order
        better = draws.random() < (1 - p if turned else p)
        names = self._names[: len(self._names)]
        chosen = draws.permutation(len(names))
        count = min(self.labels + int(draws.random() < self.twice), len(names))
        right = draws.random(len(names))
        found = []
        for k in sorted(chosen[:count]):
            says = better if right[k] < self.reliability[names[k]] else not better
            found.append(Label(names[k], float(says != turned)))
        return tuple(found)


def _draws(seed: int, *words: str) -> np.random.Generator:
    digest = hashlib.blake2b("\0".join([str(seed), *words]).encode("utf-8", "surrogatepass"), digest_size=16).digest()
    return np.random.default_rng(int.from_bytes(digest, "little"))
