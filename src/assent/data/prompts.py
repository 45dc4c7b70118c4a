"""Prompts without answers, for sources that sample: a column ``prompt`` of any file; duplicates are left out and counted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from assent.data import fields
from assent.data.fields import Malformed
from assent.data.report import Report
from assent.data.rows import rename_columns
from assent.data.sources import open_source
from assent.data.splitting import prompt_key
from assent.errors import AssentError
from assent.records import Content


@dataclass(frozen=True)
class Prompts:
    """Distinct prompts in the order of the data, and where they come from.

    logged: the completion that each prompt's first row holds, where it was asked for; else empty.
    """

    prompts: tuple[Content, ...]
    report: Report
    source: str
    fingerprint: str
    logged: tuple[Content, ...] = ()

    def __len__(self) -> int:
        return len(self.prompts)


def read_prompts(
    source: Any, columns: Mapping[str, str] | None = None, split: str = "train", logged: Sequence[str] = ()
) -> Prompts:
    """The prompts of a file, a directory, a hub id or rows in memory; rows may hold more than a prompt.

    logged: names of a completion's column, of which every row must have one.

    Raises AssentError naming the row where a prompt is missing, empty or malformed, and where there is none at all.
    """
    opened, report = open_source(source, split=split), Report()
    found: dict[str, Content] = {}
    beside: dict[str, Content] = {}
    for raw in opened.rows():
        if raw.fields is None:
            raise AssentError(f"{opened.name}: row {raw.row} cannot be read: {raw.error}")
        names = list(raw.fields)
        renames = rename_columns(names, columns, opened.name)
        row = {renames.get(name, name): value for name, value in raw.fields.items()}
        report.add("rows read")
        given = next((name for name in logged if not fields.missing(row.get(name))), logged[0] if logged else None)
        try:
            prompt, _ = fields.content(row.get("prompt"), "prompt", typed=opened.typed)
            other = None if given is None else fields.content(row.get(given), given, typed=opened.typed)[0]
        except Malformed as error:
            raise AssentError(
                f"{opened.name}: row {raw.row}, column {error.column!r}: {error.reason}; expected prompts to sample"
                f"{'' if given is None else f', each with a completion in {given!r}'}"
            ) from None
        if not fields.plain(prompt).strip():
            raise AssentError(f"{opened.name}: row {raw.row}, column 'prompt' is empty; expected a prompt to sample")
        if other is not None:
            if not fields.plain(other).strip():
                raise AssentError(f"{opened.name}: row {raw.row}, column {given!r} is empty; expected a completion")
            beside.setdefault(prompt_key(prompt), other)
        if found.setdefault(prompt_key(prompt), prompt) is not prompt:
            report.add("prompts repeated", raw.row)
    if not found:
        raise AssentError(f"{opened.name}: no rows; expected prompts to sample")
    return Prompts(tuple(found.values()), report, opened.name, opened.fingerprint(), tuple(beside.values()))
