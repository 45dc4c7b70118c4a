"""Reads what a training run left in its output directory, as far as it is there; nothing is unpickled or run.

``trainer_state.json`` (of the directory or of its last checkpoint) is needed. Read besides where present:
``assent_state.json`` (objective, annotators), Parquet files of posteriors by epoch, ``alarms.json`` or ``alarms.jsonl``,
the configuration (``assent.json``, ``*.yaml``) and the model card ``README.md``.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from assent.errors import AssentError

RELIABILITY = "lcpo/reliability/"
_POSTERIOR = ("p_correct", "posterior", "label_posterior")  # names of a column of P(the label is right)


@dataclass(frozen=True)
class Run:
    """One training run: its log by step, and what else it wrote."""

    name: str
    path: Path
    steps: int
    epochs: float | None
    history: Sequence[dict[str, Any]]
    objective: str | None = None
    posteriors: dict[str, Any] = field(default_factory=dict)
    alarms: Sequence[str] = ()
    config: str = ""
    card: str = ""

    def curve(self, key: str) -> tuple[list[float], list[float]]:
        """Steps and finite values of a logged metric."""
        points = [(h["step"], h[key]) for h in self.history if "step" in h and _finite(h.get(key))]
        return [float(s) for s, _ in points], [float(v) for _, v in points]

    def last(self, *keys: str) -> float | None:
        """The last finite value of the first of `keys` that was logged."""
        for key in keys:
            _, values = self.curve(key)
            if values:
                return values[-1]
        return None

    def reliabilities(self) -> dict[str, tuple[list[float], list[float]]]:
        """Curves of the reliabilities by annotator, or by quantile where there are many."""
        names = {k for h in self.history for k in h if k.startswith(RELIABILITY)}
        return {k.removeprefix(RELIABILITY): self.curve(k) for k in sorted(names) if self.curve(k)[0]}


def _finite(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def read(path: str | os.PathLike[str], name: str | None = None) -> Run:
    """One output directory. Raises AssentError where it is none."""
    path = Path(path)
    if not path.is_dir():
        raise AssentError(f"there is no directory {str(path)!r}; give the --output-dir of an assent train run.")
    last = _last_checkpoint(path)
    found = next((f / "trainer_state.json" for f in (path, last) if f and (f / "trainer_state.json").is_file()), None)
    if found is None:
        raise AssentError(
            f"{str(path)!r} holds no trainer_state.json and no checkpoint with one; give the --output-dir of a run "
            "that has logged at least once."
        )
    state = _json(found)
    if not isinstance(state, dict) or not isinstance(state.get("log_history"), list):
        raise AssentError(f"{str(found)!r} has no log_history; it was not written by a trainer.")
    info = next((_json(f / "assent_state.json") for f in (path, last) if f and (f / "assent_state.json").is_file()), {})
    return Run(
        name=name or path.resolve().name,
        path=path,
        steps=int(state.get("global_step") or 0),
        epochs=state.get("epoch") if _finite(state.get("epoch")) else None,
        history=[h for h in state["log_history"] if isinstance(h, dict)],
        objective=info.get("objective") if isinstance(info, dict) else None,
        posteriors=_posteriors(path),
        alarms=_alarms(path),
        config=_config(path),
        card=_text(path / "README.md"),
    )


def read_all(paths: Sequence[str | os.PathLike[str]]) -> list[Run]:
    """Several runs under names that tell them apart: the shortest ends of their paths that differ."""
    if not paths:
        raise AssentError("report got no run; give at least one output directory of assent train.")
    parts = [Path(p).resolve().parts for p in paths]
    if len(set(parts)) < len(parts):
        raise AssentError("report got the same run twice; give each output directory once.")
    depth = 1
    while len({p[-depth:] for p in parts}) < len(parts):
        depth += 1
    return [read(path, "/".join(part[-depth:])) for path, part in zip(paths, parts, strict=True)]


def _last_checkpoint(path: Path) -> Path | None:
    steps = {int(m[1]): f for f in path.glob("checkpoint-*") if (m := re.fullmatch(r"checkpoint-(\d+)", f.name))}
    return steps[max(steps)] if steps else None


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise AssentError(f"cannot read {str(path)!r} ({error}); the run's directory is damaged.") from None


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""


def _config(path: Path) -> str:
    files = [path / "assent.json", path / "run.json", *sorted(path.glob("*.yaml"))]
    return "\n".join(f"# {f.name}\n{_text(f)}" for f in files if f.is_file())


def _alarms(path: Path) -> list[str]:
    if (path / "alarms.json").is_file():
        items = _json(path / "alarms.json")
        items = items.get("alarms", []) if isinstance(items, dict) else items
    elif (path / "alarms.jsonl").is_file():
        items = [json.loads(line) for line in _text(path / "alarms.jsonl").splitlines() if line.strip()]
    else:
        return []
    return [_alarm(i) for i in items]


def _alarm(item: Any) -> str:
    if not isinstance(item, dict):
        return str(item)
    words = item.get("sentence") or item.get("message") or item.get("alarm") or json.dumps(item)
    return f"step {item['step']}: {words}" if "step" in item else str(words)


def _posteriors(path: Path) -> dict[str, Any]:
    """P(the label is right) by file, in the order of the epochs; files without such a column are passed over."""
    files = sorted({*path.glob("*.parquet"), *path.glob("*/*.parquet")}, key=_numbers)
    out = {}
    for file in files:
        import numpy as np
        import pyarrow.parquet as pq

        names = pq.read_schema(file).names
        column = next((c for c in _POSTERIOR if c in names), None)
        if column is None:
            continue
        wanted = [column, *(["epoch"] if "epoch" in names else [])]
        table = pq.read_table(file, columns=wanted)
        p = np.asarray(table.column(column).to_numpy(zero_copy_only=False), dtype=float)
        epoch = np.asarray(table.column("epoch")) if "epoch" in names else np.zeros(len(p))
        for e in np.unique(epoch):
            mark = re.findall(r"\d+", file.stem)
            label = f"epoch {e:g}" if "epoch" in names else f"epoch {mark[-1].lstrip('0') or 0}" if mark else file.stem
            out[label] = p[(epoch == e) & np.isfinite(p)]
    return out


def _numbers(path: Path) -> tuple[Any, ...]:
    """Sorts ``epoch-10`` after ``epoch-9``."""
    return ([int(n) for n in re.findall(r"\d+", path.stem)], path.name)
