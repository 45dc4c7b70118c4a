"""A panel of annotators of known reliability: one latent order per pair, flips independent given it."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from assent.errors import AssentError
from assent.records import ANONYMOUS, Label, Pair

PANEL: Mapping[str, float] = {
    "anna": 0.95,
    "ben": 0.90,
    "carla": 0.85,
    "deniz": 0.70,
    "emil": 0.60,
    "fay": 0.30,
}
"""The embedded world's annotators: the probability that a label of theirs names the latent order.  Mean noise .283."""


def latent_orders(gap: Tensor, seed: int) -> Tensor:
    """One draw per pair: is the first completion preferred?  Bradley-Terry, P = sigmoid(gap) with gap [P] in nats."""
    draw = torch.Generator().manual_seed(seed)
    return torch.rand(len(gap), generator=draw, dtype=torch.float64) < torch.sigmoid(gap.double())


def shifts(pairs: int, annotators: int, repeated: float, seed: int) -> list[tuple[int, ...]]:
    """Who judges which pair: a share ``repeated`` is judged by two or three (as many of each), the rest by one.

    Every annotator gives the same number of labels, up to one; nobody judges a pair twice.
    """
    if annotators < 3:
        raise AssentError(f"a panel has {annotators} annotators; pairs judged by three need at least 3")
    rng = random.Random(seed)
    several = round(repeated * pairs)
    counts = [2 + i % 2 for i in range(several)] + [1] * (pairs - several)
    rng.shuffle(counts)
    order = list(range(annotators))
    rng.shuffle(order)
    given = [0] * annotators
    result = []
    for count in counts:
        # the least busy first, ties at random: equal shares and no repeats within a pair
        busy = sorted(order, key=lambda k: (given[k], rng.random()))[:count]
        rng.shuffle(busy)
        for k in busy:
            given[k] += 1
        result.append(tuple(busy))
    return result


def judge(
    sides: Sequence[tuple[str, str, str]], first: Sequence[bool], panel: Mapping[str, float], repeated: float, seed: int
) -> list[Pair]:
    """Pairs with the panel's labels, stored as merged data are: the majority's order, ties the first label's.

    sides: prompt and two completions.  first [P]: is the first completion the latent preference?
    """
    names = list(panel)
    rng = random.Random(seed + 1)
    pairs, row = [], 0
    who = shifts(len(sides), len(names), repeated, seed)
    for (prompt, one, two), latent, judges in zip(sides, first, who, strict=True):
        votes = [bool(latent) == (rng.random() < panel[names[k]]) for k in judges]  # True: votes for the first
        lead = sum(1 if vote else -1 for vote in votes)
        stored = votes[0] if lead == 0 else lead > 0
        labels = []
        for k, vote in zip(judges, votes, strict=True):
            labels.append(Label(names[k], float(vote == stored), rows=(row,)))
            row += 1
        chosen, rejected = (one, two) if stored else (two, one)
        pairs.append(Pair(prompt, chosen, rejected, tuple(labels)))
    return pairs


def anonymous(pairs: Sequence[Pair]) -> list[Pair]:
    """The same labels with the names hidden: several labels of a pair become one, their average (contract 1)."""
    hidden = []
    for pair in pairs:
        rows = tuple(row for label in pair.labels for row in label.rows)
        hidden.append(
            Pair(pair.prompt, pair.chosen, pair.rejected, (Label(ANONYMOUS, pair.target, pair.weight, rows),))
        )
    return hidden


def corrected(pairs: Sequence[Pair], right: Sequence[bool]) -> list[Pair]:
    """The same rows without a flip: every label names the latent order; right [P]: is the stored order the latent one?"""
    clean = []
    for pair, is_right in zip(pairs, right, strict=True):
        kept = pair if is_right else pair.swapped()
        labels = tuple(Label(label.annotator, 1.0, label.weight, label.rows) for label in kept.labels)
        clean.append(Pair(kept.prompt, kept.chosen, kept.rejected, labels))
    return clean
