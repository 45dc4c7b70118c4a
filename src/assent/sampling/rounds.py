"""A round's data on disk: every completion, every pair, and where they come from; written whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from assent.data.aside import write_aside
from assent.data.fields import plain
from assent.errors import AssentError
from assent.judges import Tally
from assent.records import Content, Label
from assent.sampling.generation import Completion
from assent.sampling.judged import Counts, Drafted, Judged

SCHEMA = 1
SAMPLES, PAIRS, ABOUT = "samples.parquet", "pairs.parquet", "round.json"


@dataclass
class Round:
    """What was sampled and judged: groups and their completions in the order of the prompts.

    prompt_ids: token ids of each group's prompt.  about: provenance (policy, judge, settings, seed), counts and the tally.
    """

    groups: list[Judged]
    completions: list[list[Completion]]
    prompt_ids: list[np.ndarray]
    about: dict[str, Any]

    @property
    def pairs(self) -> int:
        return sum(len(group.pairs) for group in self.groups)


def about(counts: Counts, tally: Tally, provenance: Mapping[str, Any]) -> dict[str, Any]:
    """What ``round.json`` says."""
    return {"schema": SCHEMA, **provenance, "counts": asdict(counts), "judge_tally": asdict(tally)}


def write(folder: Path, found: Round) -> None:
    """Write a round; ``round.json`` comes last and says that it is whole."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder.mkdir(parents=True, exist_ok=True)
    rows = [
        {
            "prompt": i, "sample": made.sample, "prompt_text": _told(group.prompt), "completion": _told(group.texts[k]),
            "prompt_ids": ids.tolist(), "ids": made.ids.tolist(), "logp": made.logp.tolist(),
            "drawn_logp": made.drawn_logp.tolist(), "ended": made.ended, "usable": bool(group.usable[k]),
            "score": _number(group.score[k]), "win_rate": _number(group.win_rate[k]),
        }
        for i, (group, some, ids) in enumerate(zip(found.groups, found.completions, found.prompt_ids, strict=True))
        for k, made in enumerate(some)
    ]  # fmt: skip
    pairs = [
        {
            "prompt": i, "chosen": pair.chosen, "rejected": pair.rejected,
            "prompt_text": plain(group.prompt), "chosen_text": plain(group.texts[pair.chosen]),
            "rejected_text": plain(group.texts[pair.rejected]),
            "annotators": [label.annotator for label in pair.labels], "p": [label.p for label in pair.labels],
        }
        for i, group in enumerate(found.groups)
        for pair in group.pairs
    ]  # fmt: skip
    columns = {
        "prompt": pa.int64(), "chosen": pa.int64(), "rejected": pa.int64(), "prompt_text": pa.string(),
        "chosen_text": pa.string(), "rejected_text": pa.string(), "annotators": pa.list_(pa.string()),
        "p": pa.list_(pa.float64()),
    }  # fmt: skip
    write_aside(folder / SAMPLES, lambda path: pq.write_table(pa.Table.from_pylist(rows), path))
    write_aside(folder / PAIRS, lambda path: pq.write_table(pa.Table.from_pylist(pairs, pa.schema(columns)), path))
    write_aside(
        folder / ABOUT, lambda path: path.write_text(json.dumps(found.about, indent=1) + "\n", encoding="utf-8")
    )


def read(folder: Path) -> Round | None:
    """The round in a folder; None where it is not whole.  Raises AssentError for one of a later version."""
    import pyarrow.parquet as pq

    try:
        told = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if told.get("schema") != SCHEMA:
        raise AssentError(
            f"{folder / ABOUT} has schema {told.get('schema')!r}; this version reads {SCHEMA}: update assent"
        )
    groups: list[Judged] = []
    completions: list[list[Completion]] = []
    prompt_ids: list[np.ndarray] = []
    for rows in _by_prompt(pq.read_table(folder / SAMPLES).to_pylist()):
        first = rows[0]
        values = {n: np.array([_nan(row[n]) for row in rows]) for n in ("score", "win_rate")}
        usable = np.array([row["usable"] for row in rows])
        groups.append(
            Judged(_content(first["prompt_text"]), tuple(_content(r["completion"]) for r in rows), usable, **values)
        )
        prompt_ids.append(np.array(first["prompt_ids"], np.int32))
        completions.append([
            Completion(r["prompt"], r["sample"], np.array(r["ids"], np.int32), np.array(r["logp"]),
                       np.array(r["drawn_logp"]), r["ended"])
            for r in rows
        ])  # fmt: skip
    for row in pq.read_table(folder / PAIRS).to_pylist():
        labels = tuple(Label(name, p) for name, p in zip(row["annotators"], row["p"], strict=True))
        groups[row["prompt"]].pairs.append(Drafted(row["chosen"], row["rejected"], labels))
    return Round(groups, completions, prompt_ids, told)


def _by_prompt(rows: Sequence[Mapping[str, Any]]) -> list[list[Mapping[str, Any]]]:
    found: dict[int, list[Mapping[str, Any]]] = {}
    for row in rows:
        found.setdefault(row["prompt"], []).append(row)
    return [found[i] for i in sorted(found)]


def _told(content: Content) -> str:
    """Text as it is, messages as JSON; both come back as they were."""
    return json.dumps(content if isinstance(content, str) else [dict(m) for m in content], ensure_ascii=False)


def _content(text: str) -> Content:
    return json.loads(text)


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _nan(value: float | None) -> float:
    return float("nan") if value is None else value
