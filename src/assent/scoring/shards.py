"""One file of the reference cache: written once, named by the hash of its content, read through a memory map.

A safetensors file of three tensors: keys [n, 16] uint8, places [n, 2] int64 (first and last + 1 value of each key), values [N]
float32 or float64: log-probabilities of the reference at counted tokens, unweighted, nats.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from assent.data.aside import write_aside
from assent.errors import AssentError
from assent.scoring.table import KEY_BYTES

SCHEMA = 1
SUFFIX = ".safetensors"
_DTYPES = {"U8": np.dtype("u1"), "I64": np.dtype("<i8"), "F32": np.dtype("<f4"), "F64": np.dtype("<f8")}
_WIDTHS = {"keys": ("U8", KEY_BYTES), "places": ("I64", 2)}
_LONGEST_HEADER = 1 << 16
_VERIFIED: set[tuple[str, int, int]] = set()
"""Shards whose hash was checked by this process: path, size, time of the last change."""


class Refused(AssentError):
    """A shard that no run will read: it is damaged or foreign."""

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(
            f"the cache file {path} is refused, {why}; 'assent cache prune' removes it, and what it held is computed again"
        )


@dataclass(frozen=True)
class Shard:
    """keys [n, 2] uint64 and places [n, 2] int64 in memory; values [N] on disk, in nats."""

    path: Path
    keys: np.ndarray
    places: np.ndarray
    values: np.ndarray


def file_hash(path: Path) -> str:
    """Hash of a file's content, read once and never whole in memory."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def write(folder: Path, model: str, keys: np.ndarray, lengths: np.ndarray, values: np.ndarray) -> Path:
    """A new shard of the folder of ``model`` (its key): keys [n, 2], number of values of each [n], all values [N].

    Two writers of the same content write the same file.
    """
    from safetensors.numpy import save

    last = np.cumsum(lengths, dtype=np.int64)
    order = np.lexsort((keys[:, 1], keys[:, 0]))
    tensors = {
        "keys": np.ascontiguousarray(keys[order], "<u8").view(np.uint8).reshape(-1, KEY_BYTES),
        "places": np.column_stack([last - lengths, last])[order].astype("<i8"),
        "values": np.ascontiguousarray(values),
    }
    # one entry, since the order of several is drawn anew in every process and the name is a hash of all bytes
    content = save(tensors, metadata={"assent": json.dumps({"schema": SCHEMA, "model": model})})
    path = folder / (hashlib.blake2b(content, digest_size=16).hexdigest() + SUFFIX)
    if not path.exists():
        write_aside(path, lambda aside: aside.write_bytes(content))
    return path


def read(path: Path, model: str, *, always: bool = False) -> Shard:
    """Map a shard of ``model``.  Its hash is checked once a process while size and time of change stay; or ``always``.

    Raises AssentError in one sentence: cut off, changed, of another model or a later schema.
    """
    try:
        status = path.stat()
        state = (str(path), status.st_size, status.st_mtime_ns)
        if always or state not in _VERIFIED:
            if file_hash(path) != path.name.removesuffix(SUFFIX):
                raise Refused(path, "its content does not hash to its name: it is cut off or was changed")
            _VERIFIED.add(state)
        header, start = _header(path, status.st_size)
    except OSError as error:
        raise AssentError(f"the cache file {path} cannot be read ({error.strerror}); mend its permissions") from None
    told = _told(path, header)
    if told["schema"] != SCHEMA:
        raise AssentError(
            f"the cache file {path} has schema {told['schema']!r} and this version reads {SCHEMA}; "
            "update assent or choose another --cache-dir"
        )
    if told["model"] != model:
        raise Refused(path, f"it belongs to the model {told['model']}, in whose folder it does not lie")
    keys, places, values = (_tensor(path, header, start, name, status.st_size) for name in ("keys", "places", "values"))
    if len(keys) != len(places) or not _sound(places, len(values)):
        raise Refused(path, "its places point outside its values")
    return Shard(path, np.array(keys).view("<u8").reshape(-1, 2), np.array(places), values)


def _header(path: Path, size: int) -> tuple[dict[str, Any], int]:
    """The header of a safetensors file, and where its tensors start."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 0 < length <= min(_LONGEST_HEADER, size - 8):
            raise Refused(path, "it is no safetensors file")
        try:
            header = json.loads(file.read(length))
        except ValueError:
            raise Refused(path, "it is no safetensors file") from None
    if not isinstance(header, dict):
        raise Refused(path, "it is no safetensors file")
    return header, 8 + length


def _told(path: Path, header: dict[str, Any]) -> dict[str, Any]:
    """Schema and model of a shard."""
    try:
        told = json.loads(header["__metadata__"]["assent"])
        return {"schema": told["schema"], "model": told["model"]}
    except (KeyError, TypeError, ValueError):
        raise Refused(path, "it was not written by assent") from None


def _tensor(path: Path, header: dict[str, Any], start: int, name: str, size: int) -> np.ndarray:
    """One tensor of the file, mapped."""
    try:
        entry = header[name]
        dtype, shape, (first, last) = entry["dtype"], tuple(map(int, entry["shape"])), entry["data_offsets"]
        expected = (len(shape) == 2 and (dtype, shape[1]) == _WIDTHS[name]) if name in _WIDTHS else len(shape) == 1
        expected = expected and dtype in _DTYPES and (name in _WIDTHS or dtype.startswith("F"))
        expected = expected and math.prod(shape) * _DTYPES[dtype].itemsize == last - first and start + last <= size
    except (KeyError, TypeError, ValueError):
        expected = False
    if not expected:
        raise Refused(path, f"its {name} are not of the expected type and size")
    if last == first:
        return np.zeros(shape, _DTYPES[dtype])
    return np.memmap(path, dtype=_DTYPES[dtype], mode="r", offset=start + first, shape=shape)


def _sound(places: np.ndarray, count: int) -> bool:
    """Whether every sequence has values, inside the file."""
    return not len(places) or bool(
        (places[:, 0] >= 0).all() and (places[:, 1] > places[:, 0]).all() and (places[:, 1] <= count).all()
    )
