"""RAKE: key phrases of a text by how often their words stand together (Rose et al., 2010), and the text without them."""

from __future__ import annotations

import re
from collections import Counter
from typing import NamedTuple

_STOP = """
    a about above after again against all also am an and any are as at be because been before being below between
    both but by can cannot could did do does doing down during each either else ever every few for from further get
    got had has have having he her here hers him himself his how however i if in into is it its itself just let like
    may me might more most much must my myself neither no nor not now of off often on once only or other others our
    ours out over own quite rather same shall she should since so some still such than that the their theirs them
    themselves then there these they this those though through thus to too under until up upon us very was we well
    were what when where whether which while who whom whose why will with within without would yet you your yours
    yourself
"""
STOP_WORDS = frozenset(_STOP.split())
"""English words that end a phrase and belong to none."""

_WORD = re.compile(r"\w+(?:['’-]\w+)*")


class Keyword(NamedTuple):
    """A phrase in small letters, its score, and where it stands in the text, as (start, end) in characters."""

    phrase: str
    score: float
    spans: tuple[tuple[int, int], ...]


def keywords(text: str, stop_words: frozenset[str] = STOP_WORDS) -> list[Keyword]:
    """Key phrases, the highest score first, equal ones in the order of the text.

    A phrase is a longest run of words that are no stop words with nothing but blanks between them.  A word's score is its
    degree (words of all phrases that hold it, itself included) over its frequency, a phrase's the sum of its words' scores.
    """
    runs: list[list[re.Match[str]]] = []
    last = None
    for word in _WORD.finditer(text):
        stopped = word.group().lower() in stop_words
        joined = last is not None and not text[last.end() : word.start()].strip()
        if not stopped and not (joined and runs):
            runs.append([])
        if not stopped:
            runs[-1].append(word)
        last = None if stopped else word
    degree, frequency = Counter[str](), Counter[str]()
    for run in runs:
        for word in run:
            frequency[word.group().lower()] += 1
            degree[word.group().lower()] += len(run)
    found: dict[str, list[tuple[int, int]]] = {}
    for run in runs:
        phrase = " ".join(word.group().lower() for word in run)
        found.setdefault(phrase, []).append((run[0].start(), run[-1].end()))
    score = lambda phrase: sum(degree[w] / frequency[w] for w in phrase.split(" "))  # noqa: E731
    ranked = [Keyword(phrase, score(phrase), tuple(spans)) for phrase, spans in found.items()]
    return sorted(ranked, key=lambda keyword: -keyword.score)


def without(text: str, cut: list[Keyword]) -> str:
    """The text with these phrases taken out wherever they stand, each with a blank before it that nothing needs."""
    for start, end in sorted((span for keyword in cut for span in keyword.spans), reverse=True):
        left, right = text[:start], text[end:]
        text = left[:-1] + right if left[-1:].isspace() and not right[:1].isalnum() else left + right
    return text
