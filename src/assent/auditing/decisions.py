"""Decisions on rows: the file of them, and copies of the data with rows dropped, flipped or weighted."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from assent.auditing.result import AuditResult, write_aside
from assent.data import iter_rows
from assent.data.sources import open_source
from assent.errors import AssentError, did_you_mean

KINDS = ("right", "flip", "drop")
CLEAN = ("drop", "flip", "weight")
Decision = Literal["right", "flip", "drop"]


def read_decisions(path: str | os.PathLike[str], fingerprint: str, rows: int) -> dict[int, Decision]:
    """Row -> decision from a ``decisions.jsonl``, checked against the data it was made for.

    First line ``{"schema": 1, "sha256": HASH}`` of the data file, then ``{"row", "decision"}`` lines.  Raises
    AssentError for another file's decisions, unknown decisions, rows out of range, and rows decided twice differently.
    """
    path = Path(path)
    try:
        lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeError) as error:
        raise AssentError(
            f"cannot read the decisions {path} ({error.strerror or error}); expected a decisions.jsonl"
        ) from error
    if not lines:
        raise AssentError(f"{path} is empty; expected the data file's hash and one decision a line")
    head = _object(path, 1, lines[0])
    found = head.get("sha256", head.get("hash"))
    if not isinstance(found, str):
        raise AssentError(f'{path}, line 1: no hash; expected {{"sha256": "..."}} of the data file')
    if found != fingerprint:
        raise AssentError(
            f"{path} was made for another file (sha256 {found[:12]}..., this one has {fingerprint[:12]}...); pass the "
            "data that it was made for, or decide again"
        )
    out: dict[int, Decision] = {}
    for number, line in enumerate(lines[1:], start=2):
        entry = _object(path, number, line)
        row, decision = entry.get("row"), entry.get("decision")
        if isinstance(row, bool) or not isinstance(row, int) or not 0 <= row < rows:
            raise AssentError(f"{path}, line {number}: row is {row!r}; expected a whole number from 0 to {rows - 1}")
        if decision not in KINDS:
            raise AssentError(f"{path}, line {number}: decision {decision!r}; {did_you_mean(str(decision), KINDS)}")
        if out.get(row, decision) != decision:
            raise AssentError(f"{path}, line {number}: row {row} is decided as {out[row]!r} and as {decision!r}")
        out[row] = decision
    return out


def _object(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except ValueError as error:
        raise AssentError(f"{path}, line {number}: not JSON ({error}); expected one object a line") from error
    if not isinstance(value, dict):
        raise AssentError(f"{path}, line {number}: a JSON {type(value).__name__}; expected an object")
    return value


def apply_decisions(source: Any, decisions: Mapping[int, Decision], out: str | os.PathLike[str]) -> dict[str, int]:
    """Write a copy of the data with every decision carried out, and return how many rows each changed.

    right: the row becomes gold.  flip: its two sides change places (or p becomes 1 - p), and it becomes gold.
    drop: it is left out.
    """
    counts = dict.fromkeys((*KINDS, "rows"), 0)

    def changed() -> Iterator[dict[str, Any]]:
        for i, row in enumerate(iter_rows(source)):
            decision = decisions.get(i)
            if decision is not None:
                counts[decision] += 1
            if decision == "drop":
                continue
            if decision == "flip":
                row = flipped(row)
            if decision is not None:
                row = {**row, "gold": True}
            counts["rows"] += 1
            yield row

    write_rows(changed(), Path(out))
    return counts


def check_clean(how: str) -> None:
    """AssentError unless ``how`` is a way to clean."""
    if how not in CLEAN:
        raise AssentError(f"--write-clean {how}: no such way; {did_you_mean(how, CLEAN)}")


def write_clean(result: AuditResult, source: Any, how: Literal["drop", "flip", "weight"], out: str | os.PathLike[str]):
    """Write a cleaned copy of the audited data and return how many rows were changed and kept.

    drop: rows decided ``drop`` are left out.  flip: they are turned round.  weight: every row's weight is multiplied
    by 2 P(its label is right) - 1, or by 0 below one half: the expected agreement of the label with the truth.
    Rows that the reading left out (malformed, identical responses) are left out of the copy too, and counted.
    """
    check_clean(how)
    t = result.table
    label = np.full(t.n_rows, -1, dtype=np.int64)
    label[t.row] = np.arange(len(t))
    for j, rows in t.more.items():
        label[list(rows)] = j
    p = np.nan_to_num(result.p_correct, nan=0.5)
    counts = {"rows": 0, "changed": 0, "left_out": 0}

    def cleaned() -> Iterator[dict[str, Any]]:
        for i, row in enumerate(iter_rows(source)):
            j = label[i] if i < len(label) else -1
            if j < 0 or (how == "drop" and result.decision[j] == 2):
                counts["left_out"] += 1
                continue
            if how == "flip" and result.decision[j] == 2:
                row, counts["changed"] = flipped(row), counts["changed"] + 1
            elif how == "weight":
                row = {**row, "weight": float(row.get("weight") or 1.0) * max(0.0, 2 * float(p[j]) - 1)}
                counts["changed"] += 1
            counts["rows"] += 1
            yield row

    write_rows(cleaned(), Path(out))
    return counts


def flipped(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row with its judgement turned round.

    A row with a probability gets its complement; otherwise chosen and rejected and all that belongs to them change
    places, and what speaks for the order changes its sign.
    """
    row = dict(row)
    for name in ("p_b", "p_chosen"):
        if row.get(name) not in (None, ""):
            row[name] = 1.0 - float(row[name])
            return row
    names = list(row)
    out = dict(row)
    for name in names:
        other = _other_side(name)
        if other in row:
            out[name] = row[other]
    for name in ("margin", "logit"):
        if row.get(name) not in (None, ""):
            out[name] = -float(row[name])
    if row.get("rejected_prompt") not in (None, ""):
        out["prompt"], out["rejected_prompt"] = row["rejected_prompt"], row["prompt"]
    return out


def _other_side(name: str) -> str | None:
    """``chosen_x`` for ``rejected_x`` and the like; None for a column of both sides."""
    for a, b in (("chosen", "rejected"), ("rejected", "chosen")):
        if name == a:
            return b
        if name.endswith("_" + a):
            return name[: -len(a)] + b
        if name.startswith(a + "_") and name != "rejected_prompt":
            return b + name[len(a) :]
    return None


def default_clean_path(source: Any, how: str) -> str:
    """The name of the cleaned copy: ``clean_drop.jsonl``, Parquet for Parquet."""
    path = open_source(source).path
    return f"clean_{how}" + (".parquet" if path is not None and path.suffix == ".parquet" else ".jsonl")


def write_rows(rows: Iterable[Mapping[str, Any]], path: Path) -> None:
    """Rows as JSONL, or as Parquet where the name says so, written aside and moved into place."""

    def jsonl(aside: Path) -> None:
        with aside.open("w", encoding="utf-8", errors="surrogatepass") as file:
            for row in rows:
                file.write(json.dumps(row, ensure_ascii=False, default=str) + "\n")

    def parquet(aside: Path) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.Table.from_pylist(list(rows)), aside)

    write_aside(path, parquet if path.suffix == ".parquet" else jsonl)
