"""What an audit found, and the files it leaves: ``audit.parquet``, ``audit.json``, the page's view."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from assent.auditing.table import LabelTable
from assent.errors import AssentError

SCHEMA = 1
SHOWN = 40
"""Most suspicious labels on the page."""
DECISIONS = ("keep", "look", "drop")


@dataclass(frozen=True)
class AuditResult:
    """An audit of J labels of P pairs by K annotators.

    logit [P]: nats for the stored order, from held-out fits where they are the audit's own.
    posterior [P]: that the stored order is right.  p_correct [J]: that the label names the true order, nan for ties.
    reliability, low, high [K] with 95 % limits; agreement [K]: share of the other annotators' labels on the same
    pairs that agree, nan where there are none; counts [K]: labels given.
    flags: name -> [J] bool.  decision [J]: 0 keep, 1 look at, 2 drop.
    length_gap [P]: characters of the stored side less the other's, None without text.
    length_bias: share of the labels that prefer the longer response, and nats per doubling of length.
    enough: whether plain DPO is.  telling: whether the data say which labels are wrong.
    evidence: labels that are gold, shared, alone.
    """

    table: LabelTable
    scorer: str
    logit: np.ndarray
    posterior: np.ndarray
    p_correct: np.ndarray
    reliability: np.ndarray
    low: np.ndarray
    high: np.ndarray
    agreement: np.ndarray
    counts: np.ndarray
    noise_rate: float
    noise_rate_low: float
    noise_rate_high: float
    rests_on: str
    limits: tuple[str, ...]
    evidence: dict[str, int]
    flags: dict[str, np.ndarray]
    decision: np.ndarray
    length_gap: np.ndarray | None
    length_bias: dict[str, float] | None
    enough: bool
    plain_dpo: str
    temperature: float
    seconds: float
    notes: tuple[str, ...] = ()
    telling: bool = True

    def to_json(self) -> dict[str, Any]:
        """The object of ``--json``; NaN becomes None."""
        return {
            "schema": SCHEMA,
            "pairs": self.table.pairs,
            "labels": len(self.table),
            "noise_rate": _number(self.noise_rate),
            "noise_rate_low": _number(self.noise_rate_low),
            "noise_rate_high": _number(self.noise_rate_high),
            "rests_on": self.rests_on,
            "annotators": {
                name: {
                    "labels": int(self.counts[k]), "reliability": _number(self.reliability[k]),
                    "low": _number(self.low[k]), "high": _number(self.high[k]),
                }
                for k, name in enumerate(self.table.names)
            },
            "flags": self.flag_counts(),
            "seconds": round(self.seconds, 3),
        }  # fmt: skip

    def flag_counts(self) -> dict[str, int]:
        """Labels that carry each flag."""
        return {name: int(marked.sum()) for name, marked in self.flags.items()}

    def decision_counts(self) -> dict[str, int]:
        """Labels to keep, to look at, to drop."""
        return {name: int((self.decision == k).sum()) for k, name in enumerate(DECISIONS)}

    def details(self) -> dict[str, Any]:
        """``audit.json``: what ``--json`` says and everything about the data set that it leaves out."""
        out = self.to_json()
        for k, name in enumerate(self.table.names):
            out["annotators"][name]["agreement"] = _number(self.agreement[k])
        return out | {
            "source": self.table.source,
            "sha256": self.table.fingerprint,
            "rows": self.table.n_rows,
            "scorer": self.scorer,
            "temperature": _number(self.temperature),
            "evidence": self.evidence,
            "limits": list(self.limits),
            "decision": self.decision_counts(),
            "plain_dpo_is_enough": self.enough,
            "plain_dpo": self.plain_dpo,
            "telling": self.telling,
            "length_bias": self.length_bias,
            "notes": list(self.notes),
        }

    def view(self, text: bool = True) -> dict[str, Any]:
        """What the page of the audit reads (``assent.reporting.audit_page.AuditView``)."""
        out = self.details()
        gap = np.zeros(0) if self.length_gap is None else self._own(self.length_gap)
        notes = list(self.notes)
        if self.length_bias:
            notes.insert(0, length_sentence(self.length_bias))
        return out | {
            "ties": int(self.flags["tie"].sum()), "p_correct": self.p_correct[~np.isnan(self.p_correct)],
            "length_gap": gap, "suspicious": self.suspicious(text), "notes": notes,
        }  # fmt: skip

    def _own(self, values: np.ndarray) -> np.ndarray:
        """A pair's antisymmetric value in the direction of each label [J]; the stored order's for ties."""
        return values[self.table.pair] * np.where(self.table.sign < 0, -1.0, 1.0)

    def label_flags(self, j: int) -> list[str]:
        """The names of the flags of label j."""
        return [name for name, marked in self.flags.items() if marked[j]]

    def suspicious(self, text: bool = True, most: int = SHOWN) -> list[dict[str, Any]]:
        """The labels least likely to be right, one a pair, with their texts as data."""
        out: list[dict[str, Any]] = []
        seen: set[int] = set()
        logit = self._own(self.logit)
        for j in np.argsort(np.nan_to_num(self.p_correct, nan=1.0), kind="stable"):
            i = int(self.table.pair[j])
            if len(out) == most or math.isnan(self.p_correct[j]):
                break
            if i in seen or self.p_correct[j] >= 0.5:
                continue
            seen.add(i)
            doubt = {
                "row": int(self.table.row[j]), "pair": i, "annotator": self.table.names[self.table.annotator[j]],
                "p_correct": float(self.p_correct[j]), "logit": float(logit[j]), "flags": self.label_flags(j),
                "length_gap": None if self.length_gap is None else float(self._own(self.length_gap)[j]),
            }  # fmt: skip
            if text and self.table.records is not None:
                pair = self.table.records[i]
                sides = (pair.chosen, pair.rejected)
                chosen, rejected = sides if self.table.sign[j] >= 0 else sides[::-1]
                doubt |= {"prompt": pair.prompt, "chosen": chosen, "rejected": rejected}
            out.append(doubt)
        return out

    def parquet(self) -> Any:
        """``audit.parquet`` as an Arrow table: one line per label, the contract's columns and a few more."""
        import pyarrow as pa

        t = self.table
        gap = None if self.length_gap is None else pa.array(self._own(self.length_gap))
        columns = {
            "row": pa.array(t.row),
            "pair": pa.array(t.pair),
            "annotator": pa.DictionaryArray.from_arrays(pa.array(t.annotator), pa.array(t.names)).cast(pa.string()),
            "p_correct": pa.array(self.p_correct, from_pandas=True),
            "logit": pa.array(self._own(self.logit)),
            "length_gap": pa.nulls(len(t), pa.float64()) if gap is None else gap,
            "flags": _flag_lists(self.flags, len(t)),
            "weight": pa.array(t.weight),
            "decision": pa.DictionaryArray.from_arrays(
                pa.array(self.decision.astype(np.int8)), pa.array(DECISIONS)
            ).cast(pa.string()),
        }
        meaning = {
            "schema": str(SCHEMA),
            "source": t.source,
            "sha256": t.fingerprint,
            "logit": "nats for the order that the label names",
            "length_gap": "characters of the preferred response less the other's",
            "p_correct": "P(the label names the true order); null for ties",
        }
        return pa.table(columns).replace_schema_metadata(meaning)

    def write(self, out: str | os.PathLike[str]) -> Path:
        """Write ``audit.json`` and ``audit.parquet`` into the folder ``out``, aside first, then in place."""
        import pyarrow.parquet as pq

        folder = make_folder(out)
        write_aside(folder / "audit.parquet", lambda path: pq.write_table(self.parquet(), path))
        text = json.dumps(self.details(), ensure_ascii=False, indent=1, allow_nan=False) + "\n"
        write_aside(folder / "audit.json", lambda path: path.write_text(text, encoding="utf-8", errors="replace"))
        return folder


def length_sentence(bias: dict[str, float]) -> str:
    """The length bias in words."""
    return (
        f"{bias['longer_preferred']:.0%} of the labels prefer the longer response; doubling the length is worth "
        f"{bias['nats_per_doubling']:.2f} nats to them."
    )


def _flag_lists(flags: dict[str, np.ndarray], size: int) -> Any:
    """The flags of each label as a list column, built without a Python object per label."""
    import pyarrow as pa

    marked = np.stack(list(flags.values()), axis=1) if flags else np.zeros((size, 0), dtype=bool)
    offsets = np.concatenate([[0], np.cumsum(marked.sum(axis=1))]).astype(np.int32)
    which = np.nonzero(marked)[1].astype(np.int8)
    names = pa.array(list(flags) or [""], type=pa.string())
    return pa.ListArray.from_arrays(
        pa.array(offsets), pa.DictionaryArray.from_arrays(pa.array(which), names).cast(pa.string())
    )


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def make_folder(out: str | os.PathLike[str]) -> Path:
    """The folder ``out``, made if need be; AssentError where it cannot be written to."""
    folder = Path(out).expanduser()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise AssentError(f"cannot write to --out {folder} ({error.strerror or error}); choose a folder") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise AssentError(f"cannot write to --out {folder} (no permission); choose another folder")
    return folder


def write_aside(path: Path, write: Callable[[Path], Any]) -> None:
    """Let ``write`` fill a file beside ``path``, then move it there; nothing half-written stays."""
    aside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        write(aside)
        os.replace(aside, path)
    except OSError as error:
        raise AssentError(
            f"cannot write {path} ({error.strerror or error}); free space or choose another folder"
        ) from error
    finally:
        aside.unlink(missing_ok=True)
