"""Which rows of the data each pair of a run came from, on disk once, and the way back from a run to its texts."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assent.data.aside import write_aside
from assent.data.pairing import paired
from assent.data.reading import Records, read
from assent.data.sources import open_source
from assent.data.splitting import split_by_prompt
from assent.errors import AssentError

if TYPE_CHECKING:  # its import is that of transformers
    from assent.training.arguments import Settings

SCHEMA = 1
LABELS = "labels.parquet"
COLUMNS = ("pair", "label", "row", "annotator", "p", "weight", "gold")


def write_labels(folder: Path, records: Records, settings: Settings, seed: int) -> Path | None:
    """Write ``labels.parquet`` into a run's directory: one line a label and row; None where the rows are no pairs.

    pair: index among the records, as in ``pairs-epoch-N.parquet``.  label: number of the label; several rows of one
    annotator on one pair are one label.  row: 0-based position in the input, null where a round of the run sampled the
    pair.  p: P(stored order is right) by the annotator.  The table's metadata say where the data lie and how they were read.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if records.kind != "pairs":
        return None
    lines: dict[str, list[Any]] = {name: [] for name in COLUMNS}
    number = 0
    for index, pair in enumerate(records.rows):
        for label in pair.labels:
            for row in label.rows or (None,):
                for name, value in zip(
                    COLUMNS, (index, number, row, label.annotator, label.p, label.weight, label.gold), strict=True
                ):
                    lines[name].append(value)
            number += 1
    sampled = not any(pair.labels[0].rows for pair in records.rows)
    place = os.path.relpath(records.source, folder) if sampled and Path(records.source).is_dir() else None
    facts = {
        "source": None if sampled else _place(settings.data), "round": place, "name": records.source,
        "sha256": None if sampled else records.fingerprint, "rows": records.n_rows, "columns": settings.columns,
        "bad_rows": settings.bad_rows, "pairing": settings.pairing, "eval_fraction": settings.eval_fraction, "seed": seed,
    }  # fmt: skip
    table = pa.table(lines, schema=_schema(pa))
    table = table.replace_schema_metadata({"assent.schema": str(SCHEMA), "assent.source": json.dumps(facts)})
    write_aside(folder / LABELS, lambda aside: pq.write_table(table, aside))
    return folder / LABELS


def _schema(pa: Any) -> Any:
    kinds = (pa.int32(), pa.int32(), pa.int64(), pa.string(), pa.float64(), pa.float64(), pa.bool_())
    return pa.schema(list(zip(COLUMNS, kinds, strict=True)))


def _place(data: Any) -> str | None:
    """Where the data can be found again from any directory; None for rows in memory."""
    if not isinstance(data, (str, Path)):
        return None
    path = Path(data).expanduser()
    return str(path.resolve()) if path.exists() else str(data)


def read_labels(folder: Path) -> tuple[Any, dict[str, Any]] | None:
    """The table of ``labels.parquet`` and what it says of its source; None where a run wrote none.

    Raises AssentError for a damaged file or one of a later version.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = folder / LABELS
    if not path.is_file():
        return None
    try:
        table = pq.read_table(path)
        facts = json.loads(table.schema.metadata[b"assent.source"])
        schema = int(table.schema.metadata[b"assent.schema"])
        table = table.select(COLUMNS)
    except (OSError, KeyError, TypeError, ValueError, pa.ArrowException) as error:
        raise AssentError(f"cannot read {str(path)!r} ({error}); the run's directory is damaged.") from None
    if schema > SCHEMA:
        raise AssentError(f"{str(path)!r} has schema {schema}, known up to {SCHEMA}; upgrade assent.")
    return table, facts


def reread(folder: Path, facts: dict[str, Any]) -> Sequence[Any]:
    """The pairs of the run in ``folder``, read from its data once more; their order is that of ``pair`` in its tables.

    Raises AssentError, in words for a page, where the data are gone, are others now, or lay in memory.
    """
    source, name = facts.get("source"), facts.get("name")
    if facts.get("round") is not None:
        return _sampled(folder / facts["round"])
    if source is None:
        raise AssentError("the run was given rows in memory, which are not kept; train on a file to see its texts")
    opened = open_source(source)
    if opened.fingerprint() != facts.get("sha256"):
        raise AssentError(f"{name} is another file now than the one trained on (its sha256 differs)")
    columns = dict(entry.split("=") for entry in facts.get("columns") or ()) or None
    with tempfile.TemporaryDirectory() as aside:  # malformed rows were written by the run itself
        skipped = Path(aside) / "bad_rows.jsonl" if facts.get("bad_rows") == "skip" else None
        records = read(source, columns=columns, bad_rows="fail" if skipped is None else "skip", bad_rows_path=skipped)
    if facts.get("pairing"):
        records = paired(records, facts["pairing"])
    if facts.get("eval_fraction") is not None:
        records, _ = split_by_prompt(records, facts["eval_fraction"], facts["seed"])
    return records.rows


def _sampled(folder: Path) -> Sequence[Any]:
    """The pairs of a round that a run sampled itself."""
    from assent.sampling import rounds  # its import is that of transformers
    from assent.sampling.rows import records_of

    found = rounds.read(folder)
    if found is None:
        raise AssentError(f"the round {folder.name} that the run sampled is gone")
    return records_of(found, "pairs", str(folder)).rows
