"""Held-out data by prompt: every row of a prompt, and so every duplicate, lies on one side."""

from __future__ import annotations

import hashlib
from dataclasses import replace

from assent.data import fields
from assent.data.reading import Records
from assent.data.report import Report
from assent.errors import AssentError
from assent.records import Content, Example


def split_by_prompt(records: Records, fraction: float, seed: int = 0) -> tuple[Records, Records]:
    """(training, evaluation): about ``fraction`` of the prompts are held out, chosen by a hash of prompt and seed.

    A prompt stays on its side when other rows come or go.  Both sides get at least one prompt.
    Raises AssentError: a fraction outside (0, 1), or fewer than two different prompts.
    """
    if not 0.0 < fraction < 1.0:
        raise AssentError(f"the evaluation fraction is {fraction}; expected a number between 0 and 1")
    keys = [prompt_key(row.prompt) for row in records.rows]
    place = {key: _unit(key, seed) for key in set(keys)}
    if len(place) < 2:
        raise AssentError(f"{records.source}: all rows have the same prompt; nothing can be held out by prompt")
    lowest, *_, highest = sorted(place, key=lambda key: place[key])
    held = {key for key, at in place.items() if at < fraction}
    held = (held or {lowest}) - ({highest} if len(held) == len(place) else set())
    train = _part(records, [key not in held for key in keys])
    test = _part(records, [key in held for key in keys])
    train.report.add("held out", n=len(test.rows))
    return train, test


def overlap(train: Records, evaluation: Records) -> int:
    """Evaluation rows whose prompt is in the training data too; counted in the evaluation data's report."""
    known = {prompt_key(row.prompt) for row in train.rows}
    shared = [row for row in evaluation.rows if prompt_key(row.prompt) in known]
    for row in shared:
        evaluation.report.add("prompts in both", _first_row(row))
    return len(shared)


def prompt_key(prompt: Content) -> str:
    """What makes two prompts the same: the text up to white space."""
    return " ".join((fields.key(prompt) or "").split())


def _unit(key: str, seed: int) -> float:
    digest = hashlib.sha256(f"{seed}\0{key}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def _first_row(row: object) -> int | None:
    labels = getattr(row, "labels", None)
    return labels[0].rows[0] if labels and labels[0].rows else getattr(row, "row", None)


def _part(records: Records, keep: list[bool]) -> Records:
    rows = tuple(row for row, wanted in zip(records.rows, keep, strict=True) if wanted)
    names = {row.annotator for row in rows if isinstance(row, Example)}
    names |= {label.annotator for row in rows for label in getattr(row, "labels", ())}
    return replace(records, rows=rows, annotators=tuple(sorted(names)), report=Report().merged(records.report))
