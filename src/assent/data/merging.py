"""Rows on the same prompt and the same two completions become one pair with several labels.  Contract, part 1."""

from __future__ import annotations

import math
from collections.abc import Iterable

from assent.data import fields
from assent.data.report import Report
from assent.data.rows import Judged, turned
from assent.records import Label, Pair

_TIE = 1e-12


def merge(judgements: Iterable[Judged], report: Report) -> tuple[Pair, ...]:
    """Pairs in the order of their first rows; stored order is the weighted majority's, ties the first row's.

    Several labels of one annotator on a pair (gold and other labels apart) are averaged into one whose weight is
    their sum, so that weight w equals repeating the row w times.
    """
    groups: dict[tuple[str | None, ...], list[Judged]] = {}
    for judged in judgements:
        groups.setdefault(_key(judged), []).append(judged)
    return tuple(_pair(rows, report) for rows in groups.values())


def _side_key(judged: Judged) -> tuple[str | None, str | None, str | None, str | None]:
    first, second = fields.key(judged.first), fields.key(judged.second)
    if judged.second_prompt is None:
        return first, None, second, None
    return first, fields.key(judged.prompt), second, fields.key(judged.second_prompt)


def _key(judged: Judged) -> tuple[str | None, ...]:
    first, own, second, other = _side_key(judged)
    two = sorted([(first or "", own or ""), (second or "", other or "")])
    shared = fields.key(judged.prompt) if judged.second_prompt is None else None
    return (shared, *two[0], *two[1], fields.key(judged.tools))


def _pair(rows: list[Judged], report: Report) -> Pair:
    head = rows[0]
    if len(rows) == 1:
        return _stored(head, (Label(head.annotator, head.p, head.weight, (head.row,), head.gold),), {})
    for judged in rows[1:]:
        report.add("rows merged", judged.row)
    same = [_side_key(judged) == _side_key(head) for judged in rows]
    votes = [(j.p - 0.5) * j.weight * (1.0 if s else -1.0) for j, s in zip(rows, same, strict=True)]
    if min(votes) < 0 < max(votes):
        report.add("contradictory labels", head.row)
    if math.fsum(votes) < -_TIE:
        same = [not s for s in same]
        head = turned(head) if same[0] is False else head
    aligned = [j if s else turned(j) for j, s in zip(rows, same, strict=True)]
    return _stored(head, _labels(aligned, report), _first_values(aligned, report))


def _labels(aligned: list[Judged], report: Report) -> tuple[Label, ...]:
    by_name: dict[tuple[str, bool], list[Judged]] = {}
    for judged in aligned:
        by_name.setdefault((judged.annotator, judged.gold), []).append(judged)
    labels = []
    for (name, gold), own in by_name.items():
        if len(own) > 1:
            report.add("labels averaged", own[0].row, name)
        weight = math.fsum(j.weight for j in own)
        mean = math.fsum(j.weight * j.p for j in own) / weight if weight else math.fsum(j.p for j in own) / len(own)
        p = own[0].p if all(j.p == own[0].p for j in own) else min(1.0, max(0.0, mean))
        labels.append(Label(name, p, weight, tuple(j.row for j in own), gold))
    return tuple(labels)


def _first_values(aligned: list[Judged], report: Report) -> dict[str, object]:
    """Every further value of the pair from the first row that has one; rows that differ are counted."""
    values: dict[str, object] = {}
    for judged in aligned:
        given = {f"{n}": getattr(judged, n) for n in ("margin", "logit", "score_first", "score_second", "rationale")}
        for name, value in (*given.items(), *(("." + n, v) for n, v in judged.columns.items())):
            if value is None:
                continue
            if values.setdefault(name, value) != value:
                report.add("columns disagree", judged.row, name.lstrip("."))
    return values


def _stored(j: Judged, labels: tuple[Label, ...], values: dict[str, object]) -> Pair:
    columns = {n[1:]: v for n, v in values.items() if n.startswith(".")} if values else j.columns
    return Pair(
        prompt=j.prompt,
        chosen=j.first,
        rejected=j.second,
        labels=labels,
        rejected_prompt=j.second_prompt,
        margin=values.get("margin", j.margin),  # type: ignore[arg-type]
        score_chosen=values.get("score_first", j.score_first),  # type: ignore[arg-type]
        score_rejected=values.get("score_second", j.score_second),  # type: ignore[arg-type]
        rationale=values.get("rationale", j.rationale),  # type: ignore[arg-type]
        logit=values.get("logit", j.logit),  # type: ignore[arg-type]
        columns=columns,
        tools=j.tools,
    )
