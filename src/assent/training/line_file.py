"""A file of JSON lines that a run adds to as it goes, and that a resumed run continues where its checkpoint stands."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from assent.data.aside import write_aside


class LineFile:
    """Only the first rank writes, all of them read.  Each line has a ``step`` and may have a ``split``.

    lines: the first and the last of each split, oldest first; the file may be long.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.lines = path, []

    def keep(self, step: int, write: bool) -> None:
        """Take the lines up to ``step``; later ones, and one that was cut off while being written, are removed."""
        self.lines, kept = [], []
        if not self.path.is_file():
            return
        for text in self.path.read_text(encoding="utf-8").split("\n"):  # other line ends may stand within a text
            try:
                line = json.loads(text)
            except ValueError:
                continue
            if line["step"] <= step:
                kept.append(text + "\n")
                self._remember(line)
        if write:
            write_aside(self.path, lambda aside: aside.write_text("".join(kept), encoding="utf-8"))

    def add(self, line: Mapping[str, Any], write: bool) -> None:
        """One more line, as it will be read again."""
        text = written(line)
        self._remember(json.loads(text))
        if write:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(text)

    def _remember(self, line: Mapping[str, Any]) -> None:
        same = [i for i, other in enumerate(self.lines) if other.get("split") == line.get("split")]
        if len(same) > 1:
            del self.lines[same[-1]]
        self.lines.append(line)


def written(line: Mapping[str, Any]) -> str:
    """A line of the file; numbers that are not finite become null."""
    return json.dumps(_finite(line), ensure_ascii=False, allow_nan=False) + "\n"


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
