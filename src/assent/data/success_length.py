"""CoLoR's pairs: the shortest candidate that succeeds before the longest one that fails.  arXiv:2412.18232, authors' code."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from assent.data.fields import plain
from assent.records import Content, Group, Label, Pair


def characters(content: Content) -> int:
    """Length of a completion in characters, as the labels of the released data count it."""
    return len(plain(content))


def success_length_pairs(groups: Iterable[Group], *, hard: bool = False) -> Iterator[Pair]:
    """A pair for each group of candidates whose scores are 1 for success and 0 for failure (above 1/2 succeeds).

    Chosen is the shortest success and rejected the longest failure.  Where all succeed or all fail, the shortest and the
    longest of all; ``hard`` leaves out groups without a success (the released merge).  Ties in length go to the first.
    Groups whose two ends have the same text or length give no pair: nothing tells them apart.
    """
    for group in groups:
        all_of = list(range(len(group.completions)))
        good = [i for i in all_of if group.scores[i] > 0.5]
        bad = [i for i in all_of if i not in good]
        if hard and not good:
            continue
        if not (good and bad):
            good = bad = all_of
        length = [characters(c) for c in group.completions]
        chosen, rejected = min(good, key=length.__getitem__), max(bad, key=length.__getitem__)
        first, second = group.completions[chosen], group.completions[rejected]
        if first == second or (good is bad and length[chosen] == length[rejected]):
            continue
        yield Pair(
            group.prompt, first, second, labels=(Label(weight=group.weight, rows=(group.row,)),), tools=group.tools,
            score_chosen=group.scores[chosen], score_rejected=group.scores[rejected],
        )  # fmt: skip
