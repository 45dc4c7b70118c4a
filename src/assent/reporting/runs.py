"""Reads what a training run left in its output directory, as far as it is there; nothing is unpickled or run.

``trainer_state.json`` (of the directory or of its last checkpoint) is needed. Read besides where present:
``assent_state.json`` (objective), ``pairs-epoch-N.parquet`` (posteriors), ``reliabilities.parquet`` (by annotator and epoch),
``crossfit/reliabilities.json`` (held-out estimates with intervals), ``alarms.json``, ``*.yaml`` and the card ``README.md``,
``rounds/round-NNN/win_rate.json`` and ``win_rates.json`` (of each round's policy over the start).
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
    annotators: dict[str, dict[str, Any]] = field(default_factory=dict)
    crossfit: dict[str, Any] | None = None
    alarms: Sequence[str] = ()
    win_rates: dict[int, dict[str, Any]] = field(default_factory=dict)
    config: str = ""
    card: str = ""
    diagnostics: Sequence[dict[str, Any]] = ()
    samples: Sequence[dict[str, Any]] = ()

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
        """Logged curves of the reliabilities by annotator, or by quantile where there are many."""
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
    if found is None and (path / "audit.json").is_file():
        raise AssentError(
            f"{str(path)!r} is an audit's folder; its page is audit.html in it. report reads training runs."
        )
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
        annotators=_annotators(path),
        crossfit=_crossfit(path),
        alarms=_alarms(path),
        win_rates=_win_rates(path),
        config=_config(path),
        card=_text(path / "README.md"),
        diagnostics=_lines(path / "diagnostics.jsonl", "values"),
        samples=_lines(path / "samples.jsonl", "completion"),
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
    files = [f for f in sorted(path.glob("*.yaml")) if f.is_file()]
    return "\n".join(f"# {f.name}\n{_text(f)}" for f in files)


def _lines(path: Path, needed: str) -> list[dict[str, Any]]:
    """The lines of a run's JSONL in order of step; one that is still being written is left for the next time."""
    out = []
    for text in _text(path).splitlines():
        try:
            line = json.loads(text)
        except ValueError:
            continue
        if isinstance(line, dict) and needed in line and isinstance(line.get("step"), int):
            out.append(line)
    return sorted(out, key=lambda line: line["step"])


def _alarms(path: Path) -> list[str]:
    if not (path / "alarms.json").is_file():
        return []
    items = _json(path / "alarms.json")
    items = items.get("alarms", []) if isinstance(items, dict) else items
    return [
        f"step {i['step']}: {i['sentence']}" for i in items if isinstance(i, dict) and {"step", "sentence"} <= set(i)
    ]


def _win_rates(path: Path) -> dict[int, dict[str, Any]]:
    """Win rates by round, from 1: the run's own or those of ``assent eval --rounds``, whichever has more rounds.

    Where both have as many, the command's, which was given later.
    """
    own = [_json(file) for file in sorted(path.glob("rounds/round-*/win_rate.json"))]
    file = path / "win_rates.json"
    later = _json(file) if file.is_file() else {}
    later = later.get("rounds", []) if isinstance(later, dict) else []
    found = [{one["round"]: one for one in some if _is_win_rate(one)} for some in (own, later)]
    return max(reversed(found), key=len)


def _is_win_rate(one: Any) -> bool:
    if not isinstance(one, dict) or type(one.get("round")) is not int:
        return False
    values = [one.get("win_rate"), one.get("length_controlled")]
    for name in ("interval", "length_controlled_interval"):
        ends = one.get(name)
        values += ends if isinstance(ends, list) and len(ends) == 2 else [None]
    return all(_finite(value) and 0 <= value <= 1 for value in values)


def _crossfit(path: Path) -> dict[str, Any] | None:
    """The estimate that cross-fitting wrote, if the run made one."""
    file = path / "crossfit" / "reliabilities.json"
    if not file.is_file():
        return None
    found = _json(file)
    return found if isinstance(found, dict) and isinstance(found.get("annotators"), dict) else None


def _annotators(path: Path) -> dict[str, dict[str, Any]]:
    """Labels and reliability by annotator at the last epoch that was written."""
    file = path / "reliabilities.parquet"
    if not file.is_file():
        return {}
    rows = [r for r in read_table(file).to_pylist() if not r.get("term")]
    last = max((r.get("epoch") or 0 for r in rows), default=0)
    return {str(r["annotator"]): r for r in rows if (r.get("epoch") or 0) == last}


def _posteriors(path: Path) -> dict[str, Any]:
    """P(the stored order is right) of every pair by epoch, in order; epochs without posteriors are left out."""
    import numpy as np

    files = {int(m[1]): f for f in path.glob("pairs-epoch-*.parquet") if (m := re.search(r"-(\d+)\.", f.name))}
    out = {}
    for epoch in sorted(files):
        p = np.asarray(read_table(files[epoch], ["posterior"]).column(0).to_numpy(zero_copy_only=False), dtype=float)
        if np.isfinite(p).any():
            out[f"epoch {epoch}"] = p[np.isfinite(p)]
    return out


def read_table(path: Path, columns: list[str] | None = None) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.read_table(path, columns=columns)
    except (OSError, KeyError, pa.ArrowException) as error:
        raise AssentError(f"cannot read {str(path)!r} ({error}); the run's directory is damaged.") from None
