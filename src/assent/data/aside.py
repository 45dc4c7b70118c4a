"""Files that others read are whole or not there: written under another name, put on the disk, moved into place."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any


def write_aside(path: Path, write: Callable[[Path], Any]) -> None:
    """Call ``write(temporary path)`` and move the result to ``path`` when all of it is on the disk.

    Several writers of one file do not meet: each has a name of its own.  What raises leaves the old file as it was.
    """
    aside = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        write(aside)
        with aside.open("rb+") as file:
            os.fsync(file.fileno())  # a name that outlives a power cut must not outlive its content
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)
