"""The reference cache: per-token log-probabilities of a fixed reference on disk, for all later runs on any machine.

ROOT/KEY/ holds one model's values: ``about.json`` says what the key was made of, and each ``HASH.safetensors`` some sequences.
Files are written aside, moved into place and never changed, so that writers need no lock, and whatever an interrupted run
had written is there for the next one.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from assent.data.aside import write_aside
from assent.errors import AssentError, reason
from assent.scoring import shards
from assent.scoring.fingerprint import Fingerprint, key_of
from assent.scoring.reference import Compute
from assent.scoring.table import Index, batches, distinct

ABOUT, USED = "about.json", "used"
FLUSH_TOKENS, FLUSH_SECONDS = 1 << 22, 60.0
"""A shard is written after so many values (16 MB in float32), or so many seconds, whichever comes first."""


def default_root(given: str | Path | None = None) -> Path:
    """The cache's directory: the given one, else $ASSENT_CACHE, else ~/.cache/assent/reference."""
    return Path(given or os.environ.get("ASSENT_CACHE") or "~/.cache/assent/reference").expanduser()


@dataclass(frozen=True, eq=False)
class CachedReference:
    """A reference whose log-probabilities are read from a cache, by content: a wrong row can never be read.

    parts: the values of every shard, memory-mapped, nats per token.
    """

    keys: Index
    parts: tuple[np.ndarray, ...]
    name: str
    has_logits: bool = field(default=False, init=False)

    def logp(self, policy: nn.Module, batch: Any, sequences: Sequence[Any]) -> Tensor:
        missing = "a row has no reference log-probabilities in the cache; build the cache on all rows first"
        return torch.from_numpy(self.keys.gather(self.parts, sequences, missing)).to(batch.ids.device)

    def using(self, policy: nn.Module) -> contextlib.AbstractContextManager[nn.Module]:
        raise AssentError("a cached reference has no next-token distributions; keep the reference live for kl_ref")


@dataclass(frozen=True)
class ReferenceCache:
    """The folder of one model in a cache."""

    root: Path
    fingerprint: Fingerprint

    @property
    def folder(self) -> Path:
        return self.root / self.fingerprint.key

    def open(self, *, always: bool = False) -> CachedReference:
        """Everything that is there; ``always`` checks every hash again.

        Raises AssentError where a file is cut off, changed, of another model or of a later schema.
        """
        if (self.folder / ABOUT).exists():
            about(self.folder)
            with contextlib.suppress(OSError):  # a shared cache may be read-only
                (self.folder / USED).touch()
        found = [shards.read(path, self.folder.name, always=always) for path in shard_files(self.folder)]
        index = Index.of([(shard.keys, shard.places) for shard in found])
        name = f"{self.fingerprint.name} (log-probabilities from the cache)"
        return CachedReference(index, tuple(shard.values for shard in found), name)

    def add(self, keys: np.ndarray, values: Sequence[np.ndarray]) -> Path:
        """Write one shard: keys [n, 2] and the values [T_i] of each.  AssentError where the place cannot be written."""
        lengths = np.array([len(v) for v in values], dtype=np.int64)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if not (self.folder / ABOUT).exists():
                told = {"schema": shards.SCHEMA, "key": self.folder.name, "name": self.fingerprint.name}
                told["made_of"] = dict(self.fingerprint.made_of)
                write_aside(self.folder / ABOUT, lambda aside: aside.write_text(json.dumps(told, indent=1)))
            return shards.write(self.folder, self.folder.name, keys, lengths, np.concatenate(values))
        except OSError as error:
            raise AssentError(
                f"the reference cache {self.root} cannot be written ({reason(error)}); choose another --cache-dir"
            ) from None


def shard_files(folder: Path) -> list[Path]:
    """The shards of a model's folder, by name; unfinished files are hidden ones and no part of it."""
    return sorted(p for p in folder.glob(f"*{shards.SUFFIX}") if not p.name.startswith("."))


def about(folder: Path) -> dict[str, Any]:
    """What a model's folder says of itself; AssentError where it does not belong to its name."""
    try:
        told = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
        schema, own = told["schema"], key_of(told["made_of"])
    except (OSError, ValueError, KeyError, TypeError):
        raise AssentError(
            f"{folder / ABOUT} cannot be read as the description of a reference cache; 'assent cache prune --key "
            f"{folder.name}' removes that cache"
        ) from None
    if schema != shards.SCHEMA:
        raise AssentError(
            f"{folder / ABOUT} has schema {schema!r} and this version reads {shards.SCHEMA}; update assent or choose "
            "another --cache-dir"
        )
    if own != folder.name:
        raise AssentError(
            f"{folder} is the reference cache of another model ({own}); 'assent cache prune --key {folder.name}' removes it"
        )
    return told


@dataclass(frozen=True)
class Built:
    """A cache that holds every row.  Distinct sequences that were found, and that were computed now, with their tokens."""

    reference: CachedReference
    found: int
    computed: int
    tokens: int


def build(
    rows: Sequence[Any],
    compute: Compute,
    cache: ReferenceCache,
    *,
    tokens_per_batch: int = 8192,
    together: bool = False,
    share: tuple[int, int] = (0, 1),
    wait: Callable[[], Any] | None = None,
    flush_tokens: int = FLUSH_TOKENS,
    flush_seconds: float = FLUSH_SECONDS,
    progress: Callable[[int, int], Any] | None = None,
) -> Built:
    """Compute what the cache lacks of the rows (pairs, groups or examples) and write it shard by shard.

    compute: sequences of one batch, at most ``tokens_per_batch`` padded tokens, to their log-probabilities.  together: the
    sequences of a row stay in one batch, for an engine that reads their prompt once.  share: (rank, ranks), of which this
    process takes its part; ``wait`` then returns when all ranks are done.  progress: called with done and total sequences.
    What is computed when an error or an interrupt comes is written before it is passed on.
    """
    sequences, keys, owner = distinct(rows)
    before = cache.open()
    lacking = np.flatnonzero(before.keys.find(keys) < 0)
    mine = lacking[_owned(keys, owner, share)[lacking]]
    writer, done = _Writer(cache, flush_tokens, flush_seconds), 0
    wanted = [sequences[i] for i in mine]
    try:
        for numbers in batches(wanted, tokens_per_batch, owner[mine] if together else None, keys[mine]):
            batch = [wanted[i] for i in numbers]
            writer.take(keys[mine[numbers]], _checked(batch, compute(batch)))
            done += len(numbers)
            if progress is not None:
                progress(done, len(mine))
    finally:
        writer.flush()
    if wait is not None:
        wait()
    reference = cache.open() if len(lacking) else before
    if gone := int((reference.keys.find(keys) < 0).sum()):
        raise AssentError(
            f"{gone} sequences are missing from {cache.folder} after it was built: another process removed them or failed, or "
            "ranks on several machines share no --cache-dir; mend that and run the same command again"
        )
    return Built(reference, len(sequences) - len(lacking), done, writer.tokens)


def _owned(keys: np.ndarray, owner: np.ndarray, share: tuple[int, int]) -> np.ndarray:
    """Which sequences are this rank's [n]: whole rows, dealt out by content, so that ranks agree without a word."""
    rank, ranks = share
    if not 0 <= rank < ranks:
        raise AssentError(f"share is {share}; expected (rank, ranks) with a rank from 0 to ranks - 1")
    first = np.zeros(int(owner.max(initial=-1)) + 1, dtype=np.uint64)
    first[owner[::-1]] = keys[::-1, 0]  # the key of the row's first sequence is written last
    return first[owner] % np.uint64(ranks) == rank


def _checked(sequences: Sequence[Any], values: Sequence[Tensor]) -> list[np.ndarray]:
    """Values as arrays, one for every counted token, all finite: nothing else may be kept for later runs."""
    found = []
    if len(values) != len(sequences):
        raise ValueError(f"compute gave values of {len(values)} sequences; expected {len(sequences)}")
    for sequence, value in zip(sequences, values, strict=True):
        counted = int(np.count_nonzero(sequence.mask))
        if value.shape != (counted,):
            raise ValueError(f"compute gave values of shape {tuple(value.shape)}; expected ({counted},)")
        array = value.detach().to("cpu", torch.float64 if value.dtype == torch.float64 else torch.float32).numpy()
        if not np.isfinite(array).all():
            raise AssentError(
                "the reference gives a log-probability that is not finite, which is not cached; check its weights, or "
                "give it a wider number format (dtype)"
            )
        found.append(array)
    return found


class _Writer:
    """Collects values and writes a shard when there are enough, or when the last one was long ago."""

    def __init__(self, cache: ReferenceCache, tokens: int, seconds: float) -> None:
        self.cache, self.limit, self.seconds = cache, tokens, seconds
        self.keys: list[np.ndarray] = []
        self.values: list[np.ndarray] = []
        self.tokens, self.pending, self.last = 0, 0, time.monotonic()

    def take(self, keys: np.ndarray, values: list[np.ndarray]) -> None:
        count = sum(map(len, values))
        self.keys.append(keys)
        self.values += values
        self.pending += count
        self.tokens += count
        if self.pending >= self.limit or time.monotonic() - self.last >= self.seconds:
            self.flush()

    def flush(self) -> None:
        if self.values:
            self.cache.add(np.concatenate(self.keys), self.values)
        self.keys, self.values, self.pending, self.last = [], [], 0, time.monotonic()
