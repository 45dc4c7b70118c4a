"""What a reference cache holds, whether it is whole, and the removal of what is damaged or long unused."""

from __future__ import annotations

import dataclasses
import re
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assent.errors import AssentError
from assent.scoring import shards
from assent.scoring.cache import USED, about, shard_files

ABANDONED = 3600.0
"""Seconds after which an unfinished file is taken for that of a writer that was killed."""
_KEY = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True)
class Kept:
    """One model of a cache.

    name, made_of: what ``about.json`` says ("" and nothing where it is refused).  sequences, tokens: in the files that are
    not refused.  idle_days: since a run last read or wrote it.  refused: a sentence for each file that no run would read.
    """

    key: str
    name: str
    made_of: Mapping[str, Any]
    shards: int
    sequences: int
    tokens: int
    bytes: int
    idle_days: float
    refused: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


@dataclass(frozen=True)
class Removed:
    """Whole models, single files, and their size."""

    models: int
    files: int
    bytes: int

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def survey(root: Path, *, key: str | None = None, check: bool = False) -> list[Kept]:
    """The models of a cache, by key; ``check`` compares every file with its hash even where this process did so before."""
    return [_look(folder, check) for folder in _folders(root, key)]


def clean(root: Path, *, older_than: float | None = None, key: str | None = None) -> Removed:
    """Remove damaged files and those of killed writers; or whole models.

    older_than: models that no run used for so many days.  key: this model only, whatever its age unless ``older_than``
    says it.  Files of a later schema stay.
    """
    models = files = size = 0
    for folder in _folders(root, key):
        old = older_than is None or _idle(folder) > 86400 * older_than
        if old and (key is not None or older_than is not None):
            size += _size(folder)
            shutil.rmtree(folder)
            models += 1
            continue
        for path in _worthless(folder):
            size += path.stat().st_size
            path.unlink(missing_ok=True)
            files += 1
    if root.is_dir() and key is None:
        for path in _abandoned(root):
            size += path.stat().st_size
            path.unlink(missing_ok=True)
            files += 1
    return Removed(models, files, size)


def _folders(root: Path, key: str | None) -> list[Path]:
    found = sorted(p for p in root.glob("*") if p.is_dir() and _KEY.fullmatch(p.name)) if root.is_dir() else []
    if key is None:
        return found
    named = [folder for folder in found if key and folder.name.startswith(key)]
    if len(named) != 1:
        raise AssentError(
            f"{len(named)} models of {root} have a key that starts with {key!r}; expected one: 'assent cache info' lists them"
        )
    return named


def _look(folder: Path, check: bool) -> Kept:
    told: dict[str, Any] = {"name": "", "made_of": {}}
    paths, refused, sequences, tokens = shard_files(folder), [], 0, 0
    try:
        told = about(folder)
    except AssentError as error:
        refused.append(str(error))
    for path in paths:
        try:
            shard = shards.read(path, folder.name, always=check)
        except AssentError as error:
            refused.append(str(error))
        else:
            sequences, tokens = sequences + len(shard.keys), tokens + len(shard.values)
    days = _idle(folder) / 86400
    return Kept(
        folder.name, told["name"], told["made_of"], len(paths), sequences, tokens, _size(folder), days, tuple(refused)
    )


def _size(folder: Path) -> int:
    return sum(p.stat().st_size for p in folder.iterdir() if p.is_file())


def _idle(folder: Path) -> float:
    """Seconds since a run opened or wrote the model's values; the times of all files count where none was opened."""
    times = [p.stat().st_mtime for p in (folder, folder / USED, *shard_files(folder)) if p.exists()]
    return max(0.0, time.time() - max(times))


def _worthless(folder: Path) -> list[Path]:
    """Files that no run will ever read: damaged or foreign ones, and what a killed writer left."""
    found = _abandoned(folder)
    for path in shard_files(folder):
        try:
            shards.read(path, folder.name, always=True)
        except shards.Refused:
            found.append(path)
        except AssentError:  # of a later schema, or unreadable now: not ours to remove
            continue
    return found


def _abandoned(folder: Path) -> list[Path]:
    return [p for p in folder.glob(".*.part") if time.time() - p.stat().st_mtime > ABANDONED]
