"""Self-contained HTML pages and their plots."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path


def report(
    runs: str | os.PathLike[str] | Sequence[str | os.PathLike[str]], path: str | os.PathLike[str], *, text: bool = True
) -> Path:
    """Write one HTML page about training runs (their output directories) and return its path.

    text=False leaves every prompt and response out.
    Raises AssentError where a directory is no run, or where the page cannot be written.
    """
    from assent.reporting import run_page

    return run_page.write([runs] if isinstance(runs, (str, os.PathLike)) else list(runs), path, text=text)
