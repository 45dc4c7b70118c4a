"""Groups of scored completions to pairs, for objectives of pairs: which two of a group are compared."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import combinations

from assent.data.reading import Records
from assent.data.report import Report
from assent.data.success_length import success_length_pairs
from assent.errors import AssentError, did_you_mean
from assent.records import ANONYMOUS, Group, Label, Pair


def pair_of(group: Group, chosen: int, rejected: int) -> Pair:
    """Two completions of a group as a pair of its weight; margin is their gap in score."""
    scores = group.scores[chosen], group.scores[rejected]
    return Pair(
        group.prompt, group.completions[chosen], group.completions[rejected], tools=group.tools, columns=group.columns,
        labels=(Label(weight=group.weight, rows=(group.row,)),), margin=scores[0] - scores[1], score_chosen=scores[0],
        score_rejected=scores[1],
    )  # fmt: skip


def best_worst(group: Group) -> Iterator[Pair]:
    """The completion of the highest score before that of the lowest; ties go to the first."""
    order = sorted(range(len(group.scores)), key=lambda i: -group.scores[i])
    best, worst = order[0], min(order, key=lambda i: group.scores[i])
    if group.scores[best] > group.scores[worst] and group.completions[best] != group.completions[worst]:
        yield pair_of(group, best, worst)


def ranked(group: Group) -> Iterator[Pair]:
    """Every two completions of different scores, the better one first."""
    order = sorted(range(len(group.scores)), key=lambda i: -group.scores[i])
    for better, worse in combinations(order, 2):
        if group.scores[better] > group.scores[worse] and group.completions[better] != group.completions[worse]:
            yield pair_of(group, better, worse)


PAIRINGS: dict[str, Callable[[Group], Iterator[Pair]]] = {
    "best_worst": best_worst,
    "ranked": ranked,
    "success_length": lambda group: success_length_pairs([group]),
    "success_length_hard": lambda group: success_length_pairs([group], hard=True),
}
"""Names of the rules.  success_length, and its form without groups that all fail, is CoLoR's (2412.18232)."""


def paired(records: Records, rule: str) -> Records:
    """The groups as pairs; groups that give none are counted.

    Raises AssentError for an unknown rule, rows that are no groups, or where no group gives a pair.
    """
    if rule not in PAIRINGS:
        raise AssentError(f"pairing is {rule!r}; {did_you_mean(rule, PAIRINGS)}")
    if records.kind != "groups":
        raise AssentError(
            f"pairing is {rule!r} and {records.source} holds {records.kind} rows; it makes pairs of groups"
        )
    report, rows = Report(), []
    for group in records.rows:
        made = list(PAIRINGS[rule](group))
        rows += made
        report.add("groups paired", n=len(made)) if made else report.add("groups without a pair", group.row)
    if not rows:
        raise AssentError(
            f"{records.source}: pairing {rule!r} gives no pair: no group has two completions that it tells apart"
        )
    return replace(
        records, kind="pairs", rows=tuple(rows), report=records.report.merged(report), annotators=(ANONYMOUS,)
    )
