"""What several verbs share: column renames, the arguments of a run, and the one line of JSON."""

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


def run_arguments(config: Any, words: Sequence[str]) -> dict[str, Any]:
    """The arguments of a training run from a YAML file and the command line, which wins; model and data must be there.

    Bars and warnings of transformers are silenced: the verb prints its own.
    """
    from transformers.utils import logging

    from assent.training.arguments import read_config, read_options

    arguments = (read_config(config) if config else {}) | read_options(words)
    for name in ("model", "data"):
        if arguments.get(name) is None:
            raise AssentError(f"--{name} is missing; give it on the command line or in --config")
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    return arguments
