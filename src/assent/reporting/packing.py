"""Numbers and texts small enough for a page: quantised, compressed (zlib), in base64; page scripts read them back."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from assent.reporting.page import plain

_NONE16 = -32768


def packed(columns: Mapping[str, np.ndarray], **facts: Any) -> dict[str, Any]:
    """Columns as one compressed block and what is needed to read them; ``facts`` go along as they are.

    Floats are kept as 16-bit steps of the column's own scale (at most 1/32767 of its largest value off); NaN stays NaN.
    Whole numbers are kept exactly.  Sorted and other columns of whole numbers are kept as differences where those are
    smaller.
    """
    blocks, layout, at = [], [], 0
    for name, values in columns.items():
        block, how = _quantised(values) if values.dtype.kind == "f" else _whole(values)
        layout.append({"name": name, "at": at, "size": len(values), **how})
        data = block.astype(block.dtype.newbyteorder("<")).tobytes()
        data += b"\0" * (-len(data) % 4)  # typed arrays of the page's script begin at whole words
        blocks.append(data)
        at += len(data)
    return {"columns": layout, "data": compressed(b"".join(blocks)), **facts}


def _quantised(values: np.ndarray) -> tuple[np.ndarray, dict[str, Any]]:
    finite = np.isfinite(values)
    largest = float(np.abs(values[finite]).max()) if finite.any() else 0.0
    scale = largest / 32767 if largest > 0 else 1.0
    steps = np.full(len(values), _NONE16, dtype=np.int16)
    steps[finite] = np.rint(values[finite] / scale).astype(np.int16)
    return steps, {"type": "i16", "scale": scale}


def _whole(values: np.ndarray) -> tuple[np.ndarray, dict[str, Any]]:
    values = values.astype(np.int64)
    steps = np.diff(values, prepend=0)
    delta = len(values) > 0 and np.abs(steps).max() < 2 * max(1, np.abs(values).max()) and _runs(steps) < _runs(values)
    stored = steps if delta else values
    low, high = (int(stored.min()), int(stored.max())) if len(stored) else (0, 0)
    for name, kind in (("u8", np.uint8), ("u16", np.uint16), ("i32", np.int32)):
        if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max:
            return stored.astype(kind), {"type": name, "delta": bool(delta)}
    return values.astype(np.float64), {"type": "f64", "delta": False}


def _runs(values: np.ndarray) -> int:
    """How often a value differs from the one before: what a compressor pays for."""
    return int(np.count_nonzero(np.diff(values)))


def words(value: Any) -> dict[str, Any]:
    """Any JSON value (texts, names) as one compressed block."""
    text = json.dumps(plain(value), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return {"data": compressed(text.encode("utf-8", "replace"))}


def compressed(data: bytes) -> str:
    """Bytes as zlib (the browsers' "deflate") in base64."""
    return base64.b64encode(zlib.compress(data, 9)).decode("ascii")


def unpacked(block: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The columns of `packed` again, as the page's script reads them."""
    data = zlib.decompress(base64.b64decode(block["data"]))
    kinds = {"u8": "<u1", "u16": "<u2", "i32": "<i4", "i16": "<i2", "f64": "<f8"}
    out = {}
    for column in block["columns"]:
        values = np.frombuffer(data, kinds[column["type"]], column["size"], column["at"])
        if column["type"] == "i16":
            out[column["name"]] = np.where(values == _NONE16, np.nan, values * column["scale"])
        else:
            out[column["name"]] = np.cumsum(values.astype(np.int64)) if column.get("delta") else values
    return out
