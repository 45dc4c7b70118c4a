"""How different a policy's completions are from each other; each is a sequence of token ids."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence


def ngrams(ids: Sequence[int], n: int) -> list[tuple[int, ...]]:
    """The n-grams of a completion, in order; none where it has fewer than n tokens."""
    ids = [int(i) for i in ids]
    return [tuple(ids[i : i + n]) for i in range(len(ids) - n + 1)]


def distinct(completions: Sequence[Sequence[int]], n: int) -> float:
    """distinct-n: different n-grams over all n-grams of all completions; NaN where there are none."""
    grams = [gram for ids in completions for gram in ngrams(ids, n)]
    return len(set(grams)) / len(grams) if grams else float("nan")


def duplicates(completions: Sequence[Sequence[int]]) -> float:
    """Share of completions that are word for word another one too; NaN without completions."""
    counts = Counter(tuple(int(i) for i in ids) for ids in completions)
    return sum(n for n in counts.values() if n > 1) / len(completions) if completions else float("nan")


def self_overlap(completions: Sequence[Sequence[int]], n: int = 2) -> float:
    """Mean over completions of the share of their n-grams that stand in another completion; NaN where there are none."""
    grams = [ngrams(ids, n) for ids in completions]
    held = Counter(gram for own in grams for gram in set(own))
    shares = [sum(held[gram] > 1 for gram in own) / len(own) for own in grams if own]
    return sum(shares) / len(shares) if shares else float("nan")
