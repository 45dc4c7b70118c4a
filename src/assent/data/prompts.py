"""Prompts without answers, for sources that sample: a column ``prompt`` of any file; duplicates are left out and counted."""

from __future__ import annotations

from collections.abc import Mapping
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
    """Distinct prompts in the order of the data, and where they come from."""

    prompts: tuple[Content, ...]
    report: Report
    source: str
    fingerprint: str

    def __len__(self) -> int:
        return len(self.prompts)


def read_prompts(source: Any, columns: Mapping[str, str] | None = None, split: str = "train") -> Prompts:
    """The prompts of a file, a directory, a hub id or rows in memory; rows may hold more than a prompt.

    Raises AssentError naming the row where a prompt is missing, empty or malformed, and where there is none at all.
    """
    opened, report = open_source(source, split=split), Report()
    found: dict[str, Content] = {}
    for raw in opened.rows():
        if raw.fields is None:
            raise AssentError(f"{opened.name}: row {raw.row} cannot be read: {raw.error}")
        names = list(raw.fields)
        renames = rename_columns(names, columns, opened.name)
        row = {renames.get(name, name): value for name, value in raw.fields.items()}
        report.add("rows read")
        try:
            prompt, _ = fields.content(row.get("prompt"), "prompt", typed=opened.typed)
        except Malformed as error:
            raise AssentError(
                f"{opened.name}: row {raw.row}, column 'prompt': {error.reason}; expected prompts to sample"
            ) from None
        if not fields.plain(prompt).strip():
            raise AssentError(f"{opened.name}: row {raw.row}, column 'prompt' is empty; expected a prompt to sample")
        if found.setdefault(prompt_key(prompt), prompt) is not prompt:
            report.add("prompts repeated", raw.row)
    if not found:
        raise AssentError(f"{opened.name}: no rows; expected prompts to sample")
    return Prompts(tuple(found.values()), report, opened.name, opened.fingerprint())
