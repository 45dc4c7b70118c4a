"""One value of one column: checked, and turned into what the records hold, or refused with its reason."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from decimal import Decimal
from numbers import Integral, Real
from typing import Any

from assent.records import ANONYMOUS, Content


class Malformed(ValueError):
    """A value that cannot stand: its column and the reason, a part of the sentence that the user reads."""

    def __init__(self, column: str, reason: str) -> None:
        super().__init__(reason)
        self.column = column
        self.reason = reason


def shown(value: Any) -> str:
    """The value in a sentence, cut to a length that a terminal line bears."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def missing(value: Any) -> bool:
    """Null, or the empty cell of a CSV file, which has no other way to say it."""
    return value is None or value == ""


def sound(text: str, column: str) -> str:
    """The text, if it can be written as UTF-8."""
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise Malformed(column, f"broken text: half a surrogate pair at character {error.start}") from None
    return text


def kind_of(value: Any) -> str:
    """The value's type with its article, for messages: "an int", "a dict"."""
    name = type(value).__name__
    return f"{'an' if name[0] in 'aeiouAEIOU' else 'a'} {name}"


def number(value: Any, column: str, *, low: float = -math.inf, high: float = math.inf) -> float:
    """A finite number in [low, high]; text that spells one is accepted (CSV has nothing else)."""
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            raise Malformed(column, f"{shown(value)} is not a number") from None
    if isinstance(value, bool) or not isinstance(value, (Real, Decimal)):
        raise Malformed(column, f"{shown(value)} is {kind_of(value)}; expected a number")
    value = float(value)
    if math.isnan(value):
        raise Malformed(column, "NaN; expected a number, or null where there is none")
    if math.isinf(value):
        raise Malformed(column, f"{value}; expected a finite number")
    if not low <= value <= high:
        expected = f"at least {low:g}" if math.isinf(high) else f"between {low:g} and {high:g}"
        raise Malformed(column, f"{value:g}; expected a number {expected}")
    return value


def boolean(value: Any, column: str, *, typed: bool) -> bool:
    """True or false.  CSV (``typed`` False) may spell it true, false, 1, 0, yes or no."""
    if isinstance(value, bool):
        return value
    if not typed and isinstance(value, str):
        word = value.strip().lower()
        if word in ("true", "1", "yes"):
            return True
        if word in ("false", "0", "no"):
            return False
    raise Malformed(column, f"{shown(value)} is {kind_of(value)}; expected true or false")


def annotator(value: Any, column: str) -> str:
    """An annotator's name; whole numbers are names too, null is the anonymous annotator."""
    if missing(value):
        return ANONYMOUS
    if isinstance(value, str):
        return sound(value, column)
    if isinstance(value, Integral) and not isinstance(value, bool):
        return str(int(value))
    if isinstance(value, float) and value.is_integer():  # what tables make of whole numbers beside nulls
        return str(int(value))
    kind = "NaN" if isinstance(value, float) and math.isnan(value) else kind_of(value)
    raise Malformed(column, f"{shown(value)} is {kind}; expected the annotator's name (text or a whole number)")


def content(value: Any, column: str, *, typed: bool = True) -> tuple[Content, bool]:
    """Text or a list of messages, and whether it had to be parsed from JSON text (CSV only)."""
    if isinstance(value, str):
        if not typed and value.startswith(("[{", "[ {")):
            try:
                return messages(json.loads(value), column), True
            except ValueError as error:
                if isinstance(error, Malformed):
                    raise
        return sound(value, column), False
    if value is None:
        raise Malformed(column, "missing; expected text or a list of messages")
    if isinstance(value, (list, tuple)):
        return messages(value, column), False
    raise Malformed(column, f"{shown(value)} is {kind_of(value)}; expected text or a list of messages")


def messages(value: Any, column: str) -> list[dict[str, Any]]:
    """A list of ``{"role", "content"}`` messages, without the nulls that tables put where a key is absent."""
    if not isinstance(value, (list, tuple)) or not value:
        raise Malformed(column, f"{shown(value)}; expected a list of messages that is not empty")
    out = []
    for place, message in enumerate(value):
        if not isinstance(message, Mapping):
            raise Malformed(column, f"message {place} is {kind_of(message)}; expected role and content")
        kept = {k: without_nulls(v) for k, v in message.items() if v is not None or k == "content"}
        role = kept.get("role")
        if not isinstance(role, str) or not role:
            raise Malformed(column, f"message {place} has role {shown(role)}; expected system, user, assistant or tool")
        kept["content"] = _message_text(kept, place, column)
        out.append(kept)
    return out


def _message_text(message: Mapping[str, Any], place: int, column: str) -> str:
    value = message.get("content")
    if isinstance(value, str):
        return sound(value, column)
    if value is None and message.get("tool_calls"):
        return ""
    if isinstance(value, (list, tuple)) and all(isinstance(part, Mapping) for part in value):
        kinds = {part.get("type") for part in value} - {"text"}
        if not kinds and all(isinstance(part.get("text"), str) for part in value):
            return sound("".join(part["text"] for part in value), column)
        raise Malformed(column, f"message {place} has parts of type {sorted(map(str, kinds))}; only text can be read")
    raise Malformed(column, f"message {place} has content {shown(value)}; expected text")


def tools(value: Any, column: str) -> list[Any] | None:
    """A list of tool schemas, as a list or as JSON text; None where there are none."""
    if missing(value):
        return None
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            raise Malformed(column, f"{shown(value)} is not JSON; expected a list of tool schemas") from None
    if not isinstance(value, (list, tuple)):
        raise Malformed(column, f"{shown(value)} is {kind_of(value)}; expected a list of tool schemas")
    return [without_nulls(item) for item in value] or None


def without_nulls(value: Any) -> Any:
    """The nested value without the nulls that Arrow puts where a struct's key is absent."""
    if isinstance(value, Mapping):
        return {k: without_nulls(v) for k, v in value.items() if v is not None}
    if isinstance(value, (list, tuple)):
        return [without_nulls(v) for v in value]
    return value


def sequence(value: Any, column: str, *, typed: bool = True) -> list[Any]:
    """A list; CSV may hold it as JSON text."""
    if not typed and isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            raise Malformed(column, f"{shown(value)} is not JSON; expected a list") from None
    if value is None:
        raise Malformed(column, "missing; expected a list")
    if not isinstance(value, (list, tuple)):
        raise Malformed(column, f"{shown(value)} is {kind_of(value)}; expected a list")
    return list(value)


def key(value: Content | None) -> str | None:
    """Text under which equal contents are equal."""
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)


def plain(value: Content | None) -> str:
    """The words of a content: the text itself, or the messages' contents one a line."""
    if value is None or isinstance(value, str):
        return value or ""
    return "\n".join(str(message.get("content") or "") for message in value)
