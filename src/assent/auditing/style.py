"""What a text looks like, in numbers: length, lists, code, tone, repetition.  One pass over each text."""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence

import numpy as np

READ = 20_000
"""Characters of a text that are looked at; its length counts in full."""

_WORD = re.compile(r"[^\W_]+(?:'[a-z]+)?")
_LISTS = {
    "hedge": "may might perhaps possibly generally typically usually often however could seems seem likely depends "
    "depending probably sometimes",
    "refusal": "sorry cannot can't unable apologize apologise apologies inappropriate unfortunately ai",
    "first_person": "i i'm i've i'd i'll me my we our us",
    "second_person": "you your you're yourself",
    "connective": "because therefore thus first second finally additionally overall importantly moreover furthermore "
    "although while since",
    "courtesy": "please thank thanks sure certainly course absolutely feel hope glad happy welcome",
    "function": "the a an of to in and is that it for on with as are this be by or from at",
}
_CLASS = {word: k for k, words in enumerate(_LISTS.values()) for word in words.split()}
_MARKS = ("**", "```", "`", "\n\n", "http", "?", "!", ":", ";", ",", "(", '"', "...", "|", "=", "—")
_ITEM, _NUMBER = re.compile(r"\s*[-*•+]\s"), re.compile(r"\s*\(?\d+[.)]\s")

_COUNTS = (
    "words", "distinct", "bullets", "numbered", "headings", "table_rows", "lines", "sentences", "digits", "upper",
    "non_ascii", *(f"mark {m!r}" for m in _MARKS), *_LISTS,
)  # fmt: skip
_SHAPES = (
    "compression", "word_length", "distinct_share", "longest_line", "ends_whole", "ends_asking", "empty",
    "starts_low", "padding", "starts_with_i", "digit_share", "repeated_lines",
)  # fmt: skip
NAMES = (
    "length", "length_root", "length_plain", "words_plain", *_COUNTS, *(f"{name} per word" for name in _COUNTS[2:]), *_SHAPES,
)  # fmt: skip
"""Columns of ``style``.  The first LENGTH_COLUMNS say nothing but how long the text is."""
LENGTH_COLUMNS = 6


def words_of(text: str) -> list[str]:
    """The lower-case words of a text."""
    return _WORD.findall(text[:READ].lower())


def style(texts: Sequence[str], words: Sequence[Sequence[str]]) -> np.ndarray:
    """Style of each text -> [N, len(NAMES)] float32.  words: ``words_of`` each text."""
    raw = np.array([_counts(t, w) for t, w in zip(texts, words, strict=True)], dtype=np.float64)
    raw = raw.reshape(len(texts), 1 + len(_COUNTS))
    shapes = np.array([_shape(t, w) for t, w in zip(texts, words, strict=True)], dtype=np.float64)
    length, counts = raw[:, :1], raw[:, 1:]
    per_word = counts[:, 2:] / (counts[:, :1] + 5)
    sizes = [np.log1p(length), np.sqrt(length) / 10, length / 1000, counts[:, :1] / 200]
    return np.hstack([*sizes, np.log1p(counts), per_word, shapes.reshape(len(texts), -1)]).astype(np.float32)


def _counts(text: str, words: Sequence[str]) -> list[float]:
    shown = text[:READ]
    kinds = np.bincount(np.frombuffer(shown.encode("utf-8", "replace"), dtype=np.uint8), minlength=256)
    lines = shown.split("\n")
    items = [line for line in lines if line[:1] in " -*•+\t" and _ITEM.match(line)] if lines else []
    numbers = sum(1 for line in lines if _NUMBER.match(line)) if kinds[48:58].any() else 0
    headings = sum(line.startswith("#") for line in lines) if kinds[35] else 0
    rows = sum(line.lstrip().startswith("|") for line in lines) if kinds[124] else 0
    sentences = shown.count(". ") + shown.count("? ") + shown.count("! ") + shown.count(".\n") + 1
    classes = [0] * len(_LISTS)
    for word in words:
        if (k := _CLASS.get(word)) is not None:
            classes[k] += 1
    return [
        len(text), len(words), len(set(words)), len(items), numbers, headings, rows, len(lines), sentences,
        kinds[48:58].sum(), kinds[65:91].sum(), kinds[194:].sum(), *(shown.count(m) for m in _MARKS), *classes,
    ]  # fmt: skip


def _shape(text: str, words: Sequence[str]) -> list[float]:
    shown = text[: READ // 4]
    data = shown.encode("utf-8", "replace")
    stripped = text.strip()
    end = stripped[-1:]
    lines = [line for line in shown.split("\n") if len(line) > 3]
    distinct = len(set(words)) / max(1, len(words))
    return [
        len(zlib.compress(data, 1)) / max(40, len(data)),
        sum(map(len, words)) / max(1, len(words)),
        distinct,
        np.log1p(max(map(len, lines), default=0)),
        float(end != "" and end in ".!?\"`)]}'|"),
        float(end == "?"),
        float(not stripped),
        float(stripped[:1].islower()),
        np.log1p(len(text) - len(stripped)),
        float(words[:1] == ["i"]),
        sum(w.isdigit() for w in words) / (len(words) + 5),
        1 - len(set(lines)) / max(1, len(lines)),
    ]


OVERLAP_NAMES = ("covers_prompt", "taken_from_prompt", "shared_words", "copies_prompt")


def overlap(prompts: Sequence[set[str]], words: Sequence[set[str]], starts: Sequence[bool]) -> np.ndarray:
    """How each response [N] shares words with its prompt -> [N, 4] float32.  starts: it begins as the prompt does."""
    out = np.empty((len(prompts), 4), dtype=np.float32)
    for i, (a, b) in enumerate(zip(prompts, words, strict=True)):
        both = len(a & b)
        out[i] = both / max(1, len(a)), both / max(1, len(b)), np.log1p(both), starts[i]
    return out
