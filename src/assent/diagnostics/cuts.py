"""Columns of text that say where a pair comes from, for buckets by source."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

SOURCES = ("source", "split", "dataset", "subset", "category", "domain")


def cuts_of(records: Any, rows: Sequence[Any]) -> dict[str, list[str]]:
    """Name of a column in SOURCES -> its text for each row; columns that no record has, or all have alike, are left out.

    records: what was read; ``rows[i].index`` is a row's place in it.
    """
    columns = [records.rows[row.index].columns for row in rows]
    found = {}
    for name in SOURCES:
        texts = [str(c[name]) if name in c else "not given" for c in columns]
        if len(set(texts)) > 1:
            found[name] = texts
    return found
