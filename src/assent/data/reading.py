"""``read``: a source of rows in, checked records and a report of everything that happened to them out."""

from __future__ import annotations

import gc
import itertools
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from assent.data.fields import Malformed, shown
from assent.data.merging import merge
from assent.data.report import Report
from assent.data.rows import (
    Judged,
    Layout,
    detect,
    layout,
    parse_example,
    parse_group,
    parse_judged,
    rename_columns,
)
from assent.data.sources import Raw, Source, open_source
from assent.errors import AssentError
from assent.records import Example, Group, Pair

_PEEK = 200
"""Rows whose columns tell the kind of the source."""


@dataclass(frozen=True)
class Records:
    """Checked rows of one source.

    kind: "pairs", "labelled", "groups" or "sft" (judgements become pairs).
    rows: Pair, Example or Group, in the order of the input.  n_rows: rows in the source, before merging and drops.
    fingerprint: sha256 of the file's bytes.  annotators: the sorted names in the labels.
    sides: further columns that belong to a side, by base name; a pair holds them as NAME_chosen and NAME_rejected.
    """

    kind: str
    rows: tuple[Pair, ...] | tuple[Example, ...] | tuple[Group, ...]
    report: Report
    source: str
    fingerprint: str
    n_rows: int
    annotators: tuple[str, ...] = ()
    sides: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.rows)


@dataclass
class _Bad:
    """Malformed rows: the first one ends the reading, or all of them are kept for the bad-rows file."""

    source: Source
    skip: bool
    rows: list[dict[str, Any]] = field(default_factory=list)

    def place(self, raw: Raw) -> str:
        line = f"line {raw.line} (row {raw.row}, counted from 0)" if raw.line else f"row {raw.row} (counted from 0)"
        return f"{self.source.name}, {line}"

    def add(self, raw: Raw, column: str | None, reason: str) -> None:
        if not self.skip:
            where = self.place(raw) + (f", column {column!r}" if column else "")
            raise AssentError(f"{where}: {reason}; mend the row, or leave such rows out with --bad-rows skip")
        self.rows.append(
            {
                "file": self.source.name, "row": raw.row, "line": raw.line, "column": column, "reason": reason,
                "data": raw.text if raw.fields is None else dict(raw.fields),
            }
        )  # fmt: skip


def read(
    source: Any,
    *,
    columns: Mapping[str, str] | None = None,
    kind: str | None = None,
    split: str = "train",
    bad_rows: Literal["fail", "skip"] = "fail",
    bad_rows_path: Path | str | None = None,
    limit: int | None = None,
) -> Records:
    """Read preference data.

    source: a file (.jsonl, .json, .csv, each also .gz; .parquet), a directory of ``datasets.save_to_disk``, a hub id
    (``name`` or ``name:config``), a list of dicts or a ``datasets.Dataset``.
    columns: old name -> Assent's name.  kind: force "pairs", "judgements", "labelled", "groups" or "sft".
    bad_rows: "fail" raises at the first malformed row; "skip" counts them and writes them to ``bad_rows_path``
    (default ``bad_rows.jsonl`` in the working directory).  limit: read the first rows only.

    Raises AssentError naming file, row, column and reason.
    """
    if bad_rows not in ("fail", "skip"):
        raise AssentError(f"bad_rows is {bad_rows!r}; expected 'fail' or 'skip'")
    if bad_rows_path is not None and bad_rows == "fail":
        raise AssentError("bad_rows_path is given but bad_rows is 'fail', which writes none; pass bad_rows='skip'")
    if limit is not None and limit < 1:
        raise AssentError(f"limit is {limit}; expected at least 1 row")
    opened = open_source(source, split=split)
    stream = itertools.islice(opened.rows(), limit)
    peeked = list(itertools.islice(stream, _PEEK))
    plan = _plan(peeked, opened, columns, kind)
    report, bad = Report(), _Bad(opened, bad_rows == "skip")
    rows = _rows(itertools.chain(peeked, stream), plan, report, bad)
    with _collector_paused():
        merged = plan.kind in ("pairs", "judgements")
        out: tuple[Any, ...] = merge(rows, report) if merged else tuple(rows)
    if bad.rows:
        _write_bad(bad.rows, Path(bad_rows_path or "bad_rows.jsonl"), report)
    if not out:
        raise AssentError(f"{opened.name}: no usable row left of {report['rows read']}: {_losses(report)}")
    result = "pairs" if merged else plan.kind
    names = {row.annotator for row in out if isinstance(row, Example)}
    names |= {label.annotator for row in out for label in getattr(row, "labels", ())}
    return Records(
        result, out, report, opened.name, opened.fingerprint(), report["rows read"], tuple(sorted(names)),
        tuple(plan.sides),
    )  # fmt: skip


@contextmanager
def _collector_paused() -> Iterator[None]:
    """Rows make no cycles, and a collector that walks millions of them again and again takes a third of the time."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def iter_rows(source: Any, *, split: str = "train") -> Iterator[dict[str, Any]]:
    """The rows of a source as they stand, in order: row i is the i-th (for copies of a file with rows changed).

    Raises AssentError at a row that cannot be parsed.
    """
    opened = open_source(source, split=split)
    for raw in opened.rows():
        if raw.fields is None:
            _Bad(opened, skip=False).add(raw, None, raw.error)
        yield dict(raw.fields or {})


def _plan(peeked: list[Raw], opened: Source, columns: Mapping[str, str] | None, kind: str | None) -> Layout:
    if not peeked:
        raise AssentError(f"{opened.name}: no rows; expected preference data")
    names = list(dict.fromkeys(name for raw in peeked if raw.fields is not None for name in raw.fields))
    if not names:
        _Bad(opened, skip=False).add(peeked[0], None, peeked[0].error or "no columns")
    renames = rename_columns(names, columns, opened.name)
    names = [renames.get(name, name) for name in names]
    return layout(names, detect(names, kind, opened.name), renames, opened.typed)


def _rows(stream: Iterator[Raw], plan: Layout, report: Report, bad: _Bad) -> Iterator[Judged | Example | Group]:
    parsers = {"pairs": parse_judged, "judgements": parse_judged, "groups": parse_group}
    parse = parsers.get(plan.kind, parse_example)
    prompts: dict[str, str] = {}  # equal prompts share one string: judgements repeat them often
    for raw in stream:
        report.add("rows read")
        if raw.fields is None:
            _reject(bad, raw, None, raw.error, report)
            continue
        try:
            row = parse(plan.rename(raw.fields), raw.row, plan, report)
        except Malformed as error:
            _reject(bad, raw, error.column, error.reason, report)
            continue
        if row is None:
            continue
        if isinstance(row, Judged) and isinstance(row.prompt, str):
            row.prompt = prompts.setdefault(row.prompt, row.prompt)
        yield row


def _reject(bad: _Bad, raw: Raw, column: str | None, reason: str, report: Report) -> None:
    bad.add(raw, column, reason)
    report.add("bad rows skipped", raw.row, f"{column}: {reason}" if column else reason)


def _losses(report: Report) -> str:
    return "; ".join(f"{e.count} {e.name}" for e in report if e.kind == "drop") or "none was given"


def _write_bad(rows: list[dict[str, Any]], path: Path, report: Report) -> None:
    """Write the malformed rows beside the target and move them into place."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False, encoding="utf-8") as file:
            try:
                for row in rows:
                    file.write(json.dumps({"schema": 1, **row}, ensure_ascii=True, default=shown) + "\n")
            except BaseException:
                os.unlink(file.name)
                raise
        os.replace(file.name, path)
    except OSError as error:
        raise AssentError(f"cannot write the bad rows to {path} ({error.strerror or error})") from error
    report.events["bad rows skipped"].details.insert(0, f"in {path}")
