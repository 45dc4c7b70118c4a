"""Text of others on our pages: hostile until shown otherwise. Nothing here marks text as safe; templates escape it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

# Characters that change how a line reads without being seen: controls (not tab and newline), bidirectional
# overrides and isolates, zero-width space and joiner marks without a use in plain text, lone surrogates, tags.
_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)
_OPEN, _REST = 700, 5000  # characters of a text shown at once; characters on the page in all


def visible(text: object) -> str:
    """The text with every unseen or direction-changing character written out as ``⟦U+202E⟧``.

    >>> visible("a\u202eb")
    'a⟦U+202E⟧b'
    """
    return _UNSEEN.sub(lambda m: f"⟦U+{ord(m.group()):04X}⟧", str(text).replace("\r\n", "\n"))


def flat(content: object) -> str:
    """Content as one string: a string is itself, messages become ``role: content`` paragraphs."""
    if isinstance(content, str):
        return content
    if isinstance(content, Mapping):
        role = content.get("role")
        body = content.get("content", content.get("text"))
        body = flat(body) if body is not None else f"[{content.get('type', 'part')}]"
        return f"{role}: {body}" if role else body
    if isinstance(content, Sequence):
        return "\n\n".join(flat(part) for part in content)
    return "" if content is None else str(content)


@dataclass(frozen=True)
class Excerpt:
    """A text as a page shows it: `open` at once, `rest` behind a fold, `hidden` characters not on the page."""

    open: str
    rest: str = ""
    hidden: int = 0
    length: int = 0


def excerpt(content: object, *, open_at: int = _OPEN, limit: int = _REST) -> Excerpt:
    """Cut a text for a page and keep count of what was cut; lengths are characters of the original text."""
    text = flat(content)
    # A fold for a few words would hide more than it saves.
    head = limit if len(text) <= open_at * 1.25 else open_at
    head = min(head, limit)
    if head < len(text):
        head = text.rfind(" ", max(0, head - 40), head) + 1 or head  # at a word's end where one is near
    return Excerpt(
        open=visible(text[:head]),
        rest=visible(text[head:limit]),
        hidden=max(0, len(text) - limit),
        length=len(text),
    )


def short(text: object, limit: int = 60) -> str:
    """One line of at most `limit` characters for names in tables; a cut ends in an ellipsis.

    >>> short("a" * 5, 4)
    'aaa…'
    """
    line = visible(str(text).replace("\n", "⏎"))
    return line if len(line) <= limit else line[: limit - 1] + "…"
