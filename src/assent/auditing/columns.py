"""The labels of a file that has logits and no text, read column by column: a million rows take seconds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from assent.auditing.table import LabelTable
from assent.data.sources import hash_file
from assent.errors import AssentError, did_you_mean
from assent.records import ANONYMOUS

_TEXT = ("chosen", "rejected", "response_a", "response_b")
_READ = ("annotator", "p_chosen", "p_b", "weight", "gold", "pair")


def without_text(source: Any, columns: Mapping[str, str] | None = None) -> bool:
    """Whether ``source`` is a JSONL, CSV or Parquet file in which no column holds a response."""
    path = _path(source)
    if path is None:
        return False
    names = {(columns or {}).get(name, name) for name in _names(path)}
    return not names & set(_TEXT)


def read_columns(source: Any, column: str, columns: Mapping[str, str] | None = None) -> tuple[LabelTable, np.ndarray]:
    """The labels of a file without text, and their logits [P] in nats.

    column: the logit of each row's own order; annotator: who gave the label (default: one anonymous annotator).
    Optional: ``p_chosen`` or ``p_b`` (default 1: the row's order is what the label says), ``weight``, ``gold``, and
    ``pair``: rows of one pair are labels of the same order, and their logits are averaged.
    Raises AssentError for an absent column, a wrong type, nulls, NaN, or numbers out of range.
    """
    path = _path(source)
    assert path is not None, "without_text was asked first"
    renames = dict(columns or {})
    table = _load(path)
    table = table.rename_columns([renames.get(name, name) for name in table.column_names])
    column = renames.get(column, column)
    if column not in table.column_names:
        raise AssentError(f"{path}: no column {column!r}; {did_you_mean(column, table.column_names)}")
    if table.num_rows == 0:
        raise AssentError(f"{path}: no rows; expected columns {column!r} and 'annotator'")
    rows = table.num_rows
    logit = _numbers(table, column, path)
    p_name = "p_chosen" if "p_chosen" in table.column_names else "p_b"
    p = _optional(table, p_name, path, 1.0, rows, high=1.0)
    names, annotator = _annotators(table, rows)
    pair, pairs = np.arange(rows), rows
    if "pair" in table.column_names:
        _, pair = np.unique(_coded(table.column("pair")), return_inverse=True)
        pairs = int(pair.max()) + 1
        logit = np.bincount(pair, weights=logit, minlength=pairs) / np.bincount(pair, minlength=pairs)
    out = LabelTable(
        pair=pair.astype(np.int64),
        annotator=annotator,
        p=p,
        weight=_optional(table, "weight", path, 1.0, rows),
        gold=_optional(table, "gold", path, 0.0, rows, high=1.0) > 0,
        row=np.arange(rows),
        names=names,
        pairs=pairs,
        cluster=np.arange(pairs),
        source=str(path),
        fingerprint=hash_file(path),
        n_rows=rows,
    )
    return out, logit


def _path(source: Any) -> Path | None:
    if not isinstance(source, (str, Path)):
        return None
    path = Path(source).expanduser()
    kinds = (".jsonl", ".jsonl.gz", ".csv", ".csv.gz", ".parquet")
    return path if path.is_file() and path.stat().st_size and path.name.lower().endswith(kinds) else None


def _names(path: Path) -> list[str]:
    """The columns of a file from its first rows."""
    if path.suffix.lower() == ".parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            return list(pq.read_schema(path).names)
        except (pa.ArrowException, OSError) as error:
            raise AssentError(f"{path}: not a readable Parquet file ({str(error).splitlines()[0]})") from error
    from assent.data import iter_rows

    try:
        return list(next(iter(iter_rows(path)), {}))
    except AssentError:
        return ["chosen"]  # the ordinary reader tells what is wrong with the row


def _load(path: Path) -> Any:
    """The whole file as an Arrow table, without the columns that an audit of logits does not read."""
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.json
    import pyarrow.parquet as pq

    try:
        if path.suffix.lower() == ".parquet":
            return pq.read_table(path)
        if ".csv" in path.suffixes:
            return pa.csv.read_csv(path)
        if path.suffix.lower() == ".gz":
            with pa.input_stream(str(path), compression="gzip") as stream:
                return pa.json.read_json(stream)
        return pa.json.read_json(path)
    except (pa.ArrowException, OSError) as error:
        raise AssentError(f"{path}: cannot be read as columns ({str(error).splitlines()[0]})") from error


def _numbers(table: Any, name: str, path: Path) -> np.ndarray:
    """A column of finite numbers; the first row that holds something else is named."""
    import pyarrow as pa
    import pyarrow.compute as pc

    column = table.column(name)
    if pa.types.is_boolean(column.type):
        column = pc.cast(column, pa.float64())
    if not (pa.types.is_floating(column.type) or pa.types.is_integer(column.type)):
        raise AssentError(f"{path}, column {name!r}: it holds {column.type}; expected numbers")
    values = np.array(pc.cast(column, pa.float64()).to_numpy())  # nulls become NaN; a copy, to be writable
    bad = ~np.isfinite(values)
    if bad.any():
        raise AssentError(
            f"{path}, row {int(bad.argmax())} (counted from 0), column {name!r}: missing, NaN or infinite "
            f"({int(bad.sum())} such rows); expected a finite number in every row"
        )
    return values


def _optional(table: Any, name: str, path: Path, default: float, rows: int, high: float = np.inf) -> np.ndarray:
    if name not in table.column_names:
        return np.full(rows, default)
    values = _numbers(table, name, path)
    bad = (values < 0) | (values > high)
    if bad.any():
        first = int(bad.argmax())
        limit = f"between 0 and {high:g}" if np.isfinite(high) else "of at least 0"
        raise AssentError(
            f"{path}, row {first} (counted from 0), column {name!r}: {values[first]:g}; expected a number {limit}"
        )
    return values


def _annotators(table: Any, rows: int) -> tuple[tuple[str, ...], np.ndarray]:
    if "annotator" not in table.column_names:
        return (ANONYMOUS,), np.zeros(rows, dtype=np.int64)
    import pyarrow as pa
    import pyarrow.compute as pc

    column = table.column("annotator")
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)
            or pa.types.is_integer(column.type) or pa.types.is_dictionary(column.type)):  # fmt: skip
        raise AssentError(f"column 'annotator' holds {column.type}; expected names (text or whole numbers)")
    text = pc.fill_null(pc.cast(column, pa.string()), ANONYMOUS).combine_chunks().dictionary_encode()
    found = text.dictionary.to_pylist()
    order = np.argsort(np.array(found, dtype=object))
    place = np.empty(len(found), dtype=np.int64)
    place[order] = np.arange(len(found))
    return tuple(found[i] for i in order), place[text.indices.to_numpy()]


def _coded(column: Any) -> np.ndarray:
    """Whole numbers that stand for the distinct values of a column."""
    return column.combine_chunks().dictionary_encode().indices.to_numpy(zero_copy_only=False)
