"""Instructions that a program can check, for MAPL's prompts; each can be asked so that a response obeys it or not.

Their wording says nothing about which of the two it is: polarity is drawn apart from truth.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

from assent.errors import AssentError

COMMON = ("because", "however", "example", "often", "never", "water", "people", "first", "small", "reason", "without")
"""Words that a response is told to use, or not to use, where it does not have them."""


@dataclass(frozen=True)
class Instruction:
    """One request in words, and whether a response obeys it."""

    text: str
    obeyed: Callable[[str], bool]


@dataclass(frozen=True)
class Generator:
    """Makes an instruction from a response that the response obeys (True) or does not (False).

    topic: instructions of one topic may contradict each other, so a prompt carries at most one of each.
    make: (response, truth, random numbers) -> Instruction, or None where the response allows no such instruction.
    """

    name: str
    topic: str
    make: Callable[[str, bool, Random], Instruction | None]

    def __call__(self, response: str, truth: bool, rng: Random) -> Instruction | None:
        found = self.make(response, truth, rng)
        if found is not None and found.obeyed(response) != truth:
            raise AssentError(
                f"instruction generator {self.name!r} made {found.text!r}, which the response {'fails' if truth else 'obeys'}; "
                f"expected one that it {'obeys' if truth else 'fails'}"
            )
        return found


def drawn(generators: Sequence[Generator], rng: Random) -> list[Generator]:
    """The generators in random order, one of each topic.  Raises AssentError where there are none."""
    if not generators:
        raise AssentError("MAPL was given no instruction generators; expected at least one")
    first: dict[str, Generator] = {}
    for generator in rng.sample(list(generators), len(generators)):
        first.setdefault(generator.topic, generator)
    return list(first.values())


def words(text: str) -> list[str]:
    """The words of a text in small letters."""
    return "".join(c if c.isalnum() else " " for c in text.lower()).split()


def _away(count: int, rng: Random) -> int:
    """A whole number of at least 1 near ``count`` and different from it."""
    return rng.choice([n for n in range(max(1, count - 2), count + 3) if n != count])


def _at_most(response: str, truth: bool, rng: Random) -> Instruction | None:
    count = len(words(response))
    if count < 2:
        return None
    reach = max(1, count // 2)
    limit = count + rng.randint(0, reach) if truth else count - rng.randint(1, reach)
    return Instruction(f"Use at most {limit} words.", lambda text: len(words(text)) <= limit)


def _at_least(response: str, truth: bool, rng: Random) -> Instruction | None:
    count = len(words(response))
    if count < 2:
        return None
    reach = max(1, count // 2)
    limit = count - rng.randint(0, reach) if truth else count + rng.randint(1, reach)
    return Instruction(f"Use at least {limit} words.", lambda text: len(words(text)) >= limit)


def _word(response: str, truth: bool, rng: Random) -> Instruction | None:
    has = {w for w in words(response) if len(w) > 3}
    use = rng.random() < 0.5
    pool = sorted(has) if use == truth else [w for w in COMMON if w not in words(response)]
    if not pool:
        return None
    word = rng.choice(pool)
    if use:
        return Instruction(f"Use the word '{word}'.", lambda text: word in words(text))
    return Instruction(f"Do not use the word '{word}'.", lambda text: word not in words(text))


def _times(response: str, truth: bool, rng: Random) -> Instruction | None:
    times = Counter(w for w in words(response) if len(w) > 3)
    if not times:
        return None
    word = rng.choice(sorted(times))
    asked = times[word] if truth else _away(times[word], rng)
    return Instruction(f"Use the word '{word}' {asked} times in all.", lambda text: words(text).count(word) == asked)


def _paragraphs(response: str, truth: bool, rng: Random) -> Instruction | None:
    count = lambda text: sum(bool(part.strip()) for part in text.split("\n\n"))  # noqa: E731
    if count(response) < 1:
        return None
    asked = count(response) if truth else _away(count(response), rng)
    return Instruction(f"Write {asked} paragraph{'s' * (asked > 1)}.", lambda text: count(text) == asked)


def _begin(response: str, truth: bool, rng: Random) -> Instruction | None:
    known = words(response)
    others = sorted(set(known) - set(known[:1]))
    if not others:
        return None
    word = known[0] if truth else rng.choice(others)
    return Instruction(f"Begin with the word '{word}'.", lambda text: words(text)[:1] == [word])


GENERATORS = (
    Generator("at most", "length", _at_most),
    Generator("at least", "length", _at_least),
    Generator("word", "words", _word),
    Generator("times", "words", _times),
    Generator("paragraphs", "form", _paragraphs),
    Generator("begin", "beginning", _begin),
)
"""The instructions that come with Assent; any ``Generator`` joins them."""
