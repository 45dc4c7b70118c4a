"""What several verbs share: column renames and the one line of JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from assent.errors import AssentError


def renames(columns: Sequence[str] | None) -> dict[str, str] | None:
    """``["old=new", ...]`` as a mapping from the file's names to Assent's."""
    if not columns:
        return None
    pairs = {}
    for text in (part for entry in columns for part in entry.split(",")):
        old, equals, new = text.partition("=")
        if not (old.strip() and equals and new.strip()):
            raise AssentError(f"--columns got {text!r}; expected old=new, such as --columns question=prompt")
        pairs[old.strip()] = new.strip()
    return pairs


def json_line(found: Mapping[str, Any]) -> str:
    """One line of strict JSON; NaN and infinities become null."""
    return json.dumps(_finite(found), ensure_ascii=False, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(k): _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    return value
