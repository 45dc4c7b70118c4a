"""Where rows come from: files, ``datasets`` directories, hub ids and lists, streamed one row at a time."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assent.errors import AssentError, did_you_mean

SUFFIXES = (".jsonl", ".jsonl.gz", ".json", ".json.gz", ".csv", ".csv.gz", ".parquet")
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*(:[\w.-]+)?")
_BATCH = 2048


@dataclass(frozen=True, slots=True)
class Raw:
    """One row as it stands in the source: its fields, or why it could not be parsed.

    row: 0-based position among the rows.  line: 1-based line of the file, where the format has lines.
    """

    row: int
    line: int | None
    fields: Mapping[str, Any] | None
    text: str = ""
    error: str = ""


@dataclass(frozen=True)
class Source:
    """A named stream of rows that can be opened as often as needed.

    rows: starts the stream anew.  fingerprint: sha256 of the bytes (of the rows as JSON where there is no file).
    typed: False where every value is text (CSV).  path: the file, where there is one.
    """

    name: str
    rows: Callable[[], Iterator[Raw]]
    fingerprint: Callable[[], str]
    typed: bool = True
    path: Path | None = None


def open_source(source: Any, *, split: str = "train") -> Source:
    """The rows of a path, a hub id, a list of mappings, or a ``datasets.Dataset``.

    Raises AssentError: no such file, an unknown kind of file, a split that is not there, a hub that cannot be reached.
    """
    if isinstance(source, (str, Path)):
        path = Path(source).expanduser()
        if path.is_file():
            return _file(path)
        if path.is_dir():
            return _directory(path, split)
        if isinstance(source, str) and _looks_like_hub_id(source):
            return _hub(source, split)
        raise AssentError(f"no file or directory {str(source)!r}; {_siblings(path)}")
    if type(source).__module__.split(".")[0] == "datasets":
        return _dataset(_pick_split(source, split, "the given dataset"), "datasets.Dataset")
    if isinstance(source, Iterable) and not isinstance(source, Mapping):
        rows = list(source)
        return Source("rows in memory", lambda: _memory(rows), lambda: _hash_rows(rows))
    raise AssentError(
        f"cannot read rows from {type(source).__name__}; expected a path, a hub id, a list of dicts or a datasets.Dataset"
    )


def _looks_like_hub_id(name: str) -> bool:
    return bool(_HUB_ID.fullmatch(name)) and not name.endswith(SUFFIXES) and not Path(name).parent.is_dir()


def _siblings(path: Path) -> str:
    if not path.parent.is_dir():
        return f"there is no directory {str(path.parent)!r}; give a data file or a hub id"
    names = [p.name for p in path.parent.iterdir() if p.name.endswith(SUFFIXES)]
    return (
        did_you_mean(path.name, names[:50])
        if names
        else "give a data file, a datasets directory or a hub id (owner/name)"
    )


# ---- files ----------------------------------------------------------------------------------------------


def _file(path: Path) -> Source:
    name = path.name
    stem = name[:-3] if name.endswith(".gz") else name
    readers = {".jsonl": _jsonl, ".json": _json, ".csv": _csv, ".parquet": _parquet}
    reader = readers.get(Path(stem).suffix.lower())
    if reader is None or (reader is _parquet and name.endswith(".gz")):
        raise AssentError(f"{path}: unknown kind of file; expected one of {', '.join(SUFFIXES)}")
    if path.stat().st_size == 0:
        raise AssentError(f"{path}: the file is empty; expected rows of preferences, so give a file that holds some")
    return Source(
        str(path), lambda: _readable(reader, path), lambda: hash_file(path), typed=reader is not _csv, path=path
    )


def _readable(reader: Callable[[Path], Iterator[Raw]], path: Path) -> Iterator[Raw]:
    """The reader's rows; a file that is unreadable as a whole becomes one sentence."""
    try:
        yield from reader(path)
    except (OSError, EOFError, UnicodeError) as error:
        raise AssentError(f"{path}: cannot be read ({error}); is it whole and of the kind its name says?") from error


def _open(path: Path) -> io.BufferedIOBase:
    return gzip.open(path, "rb") if path.name.endswith(".gz") else path.open("rb")  # type: ignore[return-value]


def hash_file(path: Path) -> str:
    """sha256 of the file's bytes, streamed."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _jsonl(path: Path) -> Iterator[Raw]:
    with _open(path) as file:
        yield from _json_lines(file)


def _json_lines(lines: Iterable[bytes]) -> Iterator[Raw]:
    row = 0
    for line, data in enumerate(lines, start=1):
        if not data.strip():
            continue
        yield _json_row(row, line, data)
        row += 1


def _json_row(row: int, line: int, data: bytes) -> Raw:
    try:
        text = data.decode("utf-8-sig" if line == 1 else "utf-8")
    except UnicodeDecodeError as error:
        return Raw(row, line, None, data.decode("utf-8", "replace"), f"not UTF-8 text ({error.reason})")
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError) as error:
        return Raw(row, line, None, text.rstrip("\n"), f"not JSON ({error})")
    if not isinstance(fields, dict):
        return Raw(row, line, None, text.rstrip("\n"), f"a JSON {type(fields).__name__}; expected an object")
    return Raw(row, line, fields)


def _json(path: Path) -> Iterator[Raw]:
    with _open(path) as file:
        data = file.read()
    try:
        whole = json.loads(data.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        if data.lstrip()[:1] == b"{":  # JSON lines under the name .json are common
            yield from _json_lines(data.splitlines(keepends=True))
            return
        raise AssentError(f"{path}: not JSON ({error}); expected a list of objects") from error
    if isinstance(whole, dict):
        lists = [v for v in whole.values() if isinstance(v, list) and v and isinstance(v[0], dict)]
        whole = lists[0] if len(whole) == 1 and lists else [whole]
    if not isinstance(whole, list):
        raise AssentError(f"{path}: a JSON {type(whole).__name__}; expected a list of objects")
    yield from _memory(whole)


def _csv(path: Path) -> Iterator[Raw]:
    csv.field_size_limit(2**31 - 1)
    with io.TextIOWrapper(_open(path), encoding="utf-8-sig", newline="") as file:  # type: ignore[arg-type]
        reader = csv.reader(file, strict=True)
        header = next(reader, [])
        if len(set(header)) != len(header):
            raise AssentError(f"{path}: a column name occurs twice in the first line: {header}")
        start, row = reader.line_num + 1, 0
        for cells in _csv_rows(reader, path):
            if len(cells) == len(header):
                yield Raw(row, start, dict(zip(header, cells, strict=True)))
            elif cells:
                error = f"{len(cells)} fields; the first line names {len(header)}"
                yield Raw(row, start, None, ",".join(cells), error)
            row += bool(cells)
            start = reader.line_num + 1


def _csv_rows(reader: Any, path: Path) -> Iterator[list[str]]:
    try:
        yield from reader
    except csv.Error as error:
        raise AssentError(f"{path}, line {reader.line_num}: not CSV ({error})") from error


def _parquet(path: Path) -> Iterator[Raw]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
        row = 0
        for batch in file.iter_batches(batch_size=_BATCH):
            for fields in batch.to_pylist():
                yield Raw(row, None, fields)
                row += 1
    except pa.ArrowException as error:
        raise AssentError(f"{path}: not a readable Parquet file ({str(error).splitlines()[0]})") from error


# ---- memory, datasets and the hub -----------------------------------------------------------------------


def _memory(rows: Iterable[Any]) -> Iterator[Raw]:
    for row, fields in enumerate(rows):
        if isinstance(fields, Mapping):
            yield Raw(row, None, fields)
        else:
            yield Raw(row, None, None, repr(fields), f"a {type(fields).__name__}; expected an object with columns")


def _hash_rows(rows: Iterable[Any]) -> str:
    digest = hashlib.sha256()
    for fields in rows:
        digest.update(json.dumps(fields, sort_keys=True, default=str, ensure_ascii=False).encode("utf-8", "replace"))
        digest.update(b"\n")
    return digest.hexdigest()


def _dataset(dataset: Any, name: str, fingerprint: Callable[[], str] | None = None) -> Source:
    if type(dataset).__name__.startswith("Iterable"):
        raise AssentError(f"{name}: a streaming dataset; give one with a length (streaming=False)")

    def rows() -> Iterator[Raw]:
        row = 0
        for table in dataset.with_format("arrow").iter(batch_size=_BATCH):
            for fields in table.to_pylist():
                yield Raw(row, None, fields)
                row += 1

    return Source(name, rows, fingerprint or (lambda: _hash_rows(raw.fields for raw in rows())))


def _pick_split(dataset: Any, split: str, name: str) -> Any:
    if not isinstance(dataset, Mapping):  # a DatasetDict is a dict of splits
        return dataset
    if split not in dataset:
        raise AssentError(f"{name}: no split {split!r}; {did_you_mean(split, [str(s) for s in dataset])}")
    return dataset[split]


def _need_datasets(name: str) -> Any:
    try:
        import datasets
    except ImportError as error:
        raise AssentError(
            f"{name}: reading this needs the package datasets; install it with pip install 'assent[datasets]'"
        ) from error
    return datasets


def _directory(path: Path, split: str) -> Source:
    if not any((path / mark).is_file() for mark in ("dataset_info.json", "state.json", "dataset_dict.json")):
        files = sorted(p.name for p in path.iterdir() if p.name.endswith(SUFFIXES))
        hint = f"give one of its files: {', '.join(files[:5])}" if files else "it holds no data file"
        raise AssentError(f"{path}: not a directory written by datasets.save_to_disk; {hint}")
    datasets = _need_datasets(str(path))
    try:
        loaded = datasets.load_from_disk(str(path))
    except (OSError, ValueError) as error:
        raise AssentError(f"{path}: datasets cannot load this directory ({_first_line(error)})") from error
    files = sorted(p for p in path.rglob("*.arrow"))

    def fingerprint() -> str:
        return hashlib.sha256("".join(hash_file(p) for p in files).encode()).hexdigest()

    return _dataset(_pick_split(loaded, split, str(path)), str(path), fingerprint)


def _hub(name: str, split: str) -> Source:
    datasets = _need_datasets(name)
    repository, _, config = name.partition(":")
    try:
        loaded = datasets.load_dataset(repository, config or None, split=split)
    except Exception as error:
        raise AssentError(
            f"no file {name!r} here, and the hub gave no data set of that name, split {split!r} "
            f"({type(error).__name__}: {_first_line(error)}); check the name, the split and the connection"
        ) from error
    return _dataset(loaded, f"{name} ({split})")


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__
