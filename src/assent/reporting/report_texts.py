"""The texts of a run's pairs, read again from its data: some on a page, cut, and each in full where a page is served."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from assent.errors import AssentError
from assent.reporting.text import flat, visible
from assent.training.provenance import LABELS, read_labels, reread

LIMIT = 4_000
"""Characters of a text on a page."""


@dataclass(frozen=True)
class Texts:
    """The pairs of a run as they were read; `missing` says why there are none."""

    pairs: Sequence[Any] = ()
    missing: str = ""

    def of(self, pair: int, limit: int | None = None) -> dict[str, Any] | None:
        """What a page shows of a pair: texts with unseen characters written out, and lengths before any cut.

        Keys: prompt, chosen, rejected, rejected_prompt (only where it differs); length holds the same keys.  limit:
        characters of each text; None for all.  None where the run has no such pair.
        """
        if not 0 <= pair < len(self.pairs):
            return None
        found = self.pairs[pair]
        sides = {"prompt": found.prompt, "chosen": found.chosen, "rejected": found.rejected}
        if found.rejected_prompt is not None:
            sides["rejected_prompt"] = found.rejected_prompt
        whole = {name: flat(content) for name, content in sides.items()}
        length = {name: len(text) for name, text in whole.items()}
        return {name: visible(text[:limit]) for name, text in whole.items()} | {"length": length}


def open_texts(run_dir: str | os.PathLike[str]) -> Texts:
    """The texts of a run, as far as its data are still there and the same; `missing` says what is not.

    Kept in memory for the next call until the data or the run change.
    """
    folder = Path(run_dir)
    try:
        found = read_labels(folder)
    except AssentError as error:
        return Texts(missing=str(error))
    if found is None:
        return Texts(missing="the run wrote no labels.parquet that names its rows")
    source = found[1].get("source")
    return _read(str(folder.resolve()), _stamp(folder / LABELS), _stamp(Path(source)) if source else None)


def texts_of(run_dir: str | os.PathLike[str], pair: int) -> dict[str, Any] | None:
    """The full texts of one pair of a run (keys as in `Texts.of`); None where there is none."""
    return open_texts(run_dir).of(pair)


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size


@lru_cache(maxsize=4)
def _read(folder: str, labels: Any, data: Any) -> Texts:
    found = read_labels(Path(folder))
    assert found is not None
    try:
        return Texts(reread(Path(folder), found[1]))
    except AssentError as error:
        return Texts(missing=str(error).rstrip("."))
