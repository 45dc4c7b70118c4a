"""The newest page of runs that may still be going on: made again when their files change, and no oftener than needed."""

from __future__ import annotations

import hashlib
import os
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from assent.errors import AssentError

LEAST = 2.0
"""Seconds between two makings of a page, at least."""
SHARE = 0.1
"""Share of one core that making pages may take from the training beside it."""
_READ = (
    "*.json", "*.jsonl", "*.parquet", "*.yaml", "*.md", "checkpoint-*/trainer_state.json", "crossfit/*.json",
    "crossfit/*/*.safetensors", "rounds/*/*.json",
)  # fmt: skip

Make = Callable[[Sequence[Path], Path], object]
"""(runs, path) writes the page of the runs to the path; raises AssentError while there is nothing to show."""


@dataclass(frozen=True)
class Made:
    """A page and the version of the files it stands for.

    note: why these files could not be shown, "" where they are.  whole: whether html shows runs, even older ones.
    """

    version: str
    html: bytes
    note: str = ""
    whole: bool = True


def version_of(runs: Sequence[Path]) -> str:
    """A short text that differs when a file that the page reads was written, came or went."""
    seen = hashlib.sha256()
    for run in runs:
        for path in sorted({path for pattern in _READ for path in run.glob(pattern)}):
            try:
                found = path.stat()
            except OSError:  # moved away since it was listed
                continue
            seen.update(f"{path}\0{found.st_size}\0{found.st_mtime_ns}\0".encode("utf-8", "surrogateescape"))
    return seen.hexdigest()[:16]


class LivePage:
    """The page of runs; ``watch``: follow them, and wait for those that have not logged.

    make: see Make.  empty: a sentence -> the page that is shown while there is none.  Several threads may ask at once.
    Raises AssentError at the start where nothing is to be waited for and there is no page.
    """

    def __init__(self, runs: Sequence[Path], make: Make, empty: Callable[[str], str], watch: bool = True) -> None:
        self.runs, self.watch = [Path(run) for run in runs], watch
        self._make, self._empty = make, empty
        self._lock, self._made, self._next = threading.Lock(), None, 0.0
        if not watch:
            self._made = self._fresh(version_of(self.runs))

    def version(self) -> str:
        """The version that ``page`` would give now."""
        made = self._made
        if made is not None and (not self.watch or time.monotonic() < self._next):
            return made.version
        return version_of(self.runs)

    @property
    def note(self) -> str:
        """Why the newest files could not be shown; "" where they were, or nobody asked yet."""
        return self._made.note if self._made else ""

    @property
    def waiting(self) -> bool:
        """Whether no page of the runs was made yet."""
        return self._made is None or not self._made.whole

    def page(self) -> Made:
        """The newest page; the last whole one, with a note, while the files cannot be read."""
        with self._lock:
            made = self._made
            if made is None or (self.watch and time.monotonic() >= self._next):
                wanted = version_of(self.runs)  # before reading: what is written meanwhile is a newer version
                if made is None or wanted != made.version:
                    self._made = made = self._renewed(wanted, made)
            return made

    def _renewed(self, wanted: str, before: Made | None) -> Made:
        began = time.thread_time()  # what other processes take meanwhile is not this one's doing
        try:
            made = self._fresh(wanted)
        except AssentError as error:
            whole = before is not None and before.whole
            html = before.html if whole else self._empty(str(error)).encode("utf-8", "replace")
            made = Made(wanted, html, str(error), whole)
        # The first making loads libraries, which happens once.
        cost = time.thread_time() - began if before is not None and before.whole else 0.0
        self._next = time.monotonic() + max(LEAST, cost / SHARE)
        return made

    def _fresh(self, version: str) -> Made:
        handle, name = tempfile.mkstemp(suffix=".html")
        os.close(handle)
        try:
            self._make(self.runs, Path(name))
            return Made(version, Path(name).read_bytes())
        finally:
            Path(name).unlink(missing_ok=True)
