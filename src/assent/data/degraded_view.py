"""The views "chosen@degraded" and "rejected@degraded": a response that has lost some of its key phrases.  arXiv:2409.17791.

The paper says that key content found by RAKE is removed to different extents; levels and how they are drawn are a
reconstruction.
"""

from __future__ import annotations

from random import Random

from assent.data.fields import plain
from assent.data.keywords import keywords, without
from assent.errors import AssentError
from assent.records import Content, Example, Pair


def degraded(text: str, level: int, levels: int) -> str:
    """The text without the share level / (levels - 1) of its key phrases, those of the highest score first."""
    if not 0 <= level < levels:
        raise AssentError(f"degraded: level is {level}, levels {levels}; expected 0 <= level < levels")
    found = keywords(text)
    return without(text, found[: round(level / max(levels - 1, 1) * len(found))])


def degraded_view(pair: Pair, side: str, levels: int, rng: Random) -> tuple[Example, dict[str, float]] | None:
    """One side at a level drawn from 0 ... levels - 1, and its column "degree"; None where the response has no key phrase.

    A conversation loses phrases of its assistant's messages only.
    """
    own = pair.chosen if side == "chosen" else pair.rejected
    prompt = pair.prompt if side == "chosen" or pair.rejected_prompt is None else pair.rejected_prompt
    if not keywords(plain(own)):
        return None
    level = rng.randrange(levels)
    return Example(prompt, _cut(own, level, levels)), {"degree": float(level)}


def _cut(content: Content, level: int, levels: int) -> Content:
    if isinstance(content, str):
        return degraded(content, level, levels)
    return [
        dict(m) | {"content": degraded(str(m["content"]), level, levels)} if m["role"] == "assistant" else m
        for m in content
    ]
