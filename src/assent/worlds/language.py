"""A small language of English words with a true reward in closed form.

A prompt ("write short garden note for sister") asks for a short or a long note on a topic for a person; a completion
("hello red rose and quiet owl love") opens, names things with an adjective each, joined by "and", and closes.  The
reward knows the topic's nouns, the order of adjective and noun, manners, the closing that suits the person, and the
length that was asked for.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise, product

TOPICS: dict[str, tuple[str, ...]] = {
    "garden": ("rose", "leaf", "seed", "fence"),
    "kitchen": ("oven", "spoon", "bread", "soup"),
    "river": ("boat", "bridge", "fish", "stone"),
    "school": ("desk", "lesson", "chalk", "book"),
    "market": ("stall", "apple", "basket", "coin"),
    "forest": ("oak", "moss", "trail", "owl"),
    "concert": ("violin", "song", "drum", "stage"),
    "winter": ("snow", "scarf", "ice", "fire"),
}
"""Each topic with the nouns that belong to it."""

ADJECTIVES = ("red", "small", "warm", "bright", "quiet", "old", "fresh", "lovely")
VERBS = ("write", "draft", "send", "compose")
FAMILY = ("sister", "brother", "mother", "uncle")
FORMAL = ("teacher", "doctor", "manager", "mayor")
WANTED = {"short": 1, "long": 3}
"""How many nouns the prompt's size word asks for."""
KIND = ("hello", "welcome")
RUDE = ("listen", "whatever")
CLOSINGS = {"love": FAMILY, "regards": FORMAL}
"""Each closing word with the persons that it suits."""

NOUNS = tuple(noun for nouns in TOPICS.values() for noun in nouns)
WORDS = tuple(
    dict.fromkeys(
        (*VERBS, *WANTED, *TOPICS, "note", "for", *FAMILY, *FORMAL, *KIND, *RUDE)
        + (*ADJECTIVES, *NOUNS, "and", *CLOSINGS)
    )
)
"""The vocabulary, 71 words, in a fixed order."""

LONGEST = 12
"""Words of the longest completion that the corpus can hold, its end and one to spare; samplers stop here."""


@dataclass(frozen=True)
class Reward:
    """Weights of the true reward, in nats of the Bradley-Terry choice between two completions."""

    on_topic: float = 1.0
    off_topic: float = -0.8
    ordered: float = 0.5
    disordered: float = -0.5
    kind: float = 0.7
    rude: float = -1.2
    closing: float = 1.0
    wrong_closing: float = -0.7
    length: float = -0.7

    def __call__(self, prompt: str, completion: str) -> float:
        """The true reward of a completion (several word features; see :func:`features`)."""
        counts = features(prompt, completion)
        return sum(getattr(self, name) * count for name, count in counts.items())


def prompts() -> list[str]:
    """Every prompt of the language, 512 in all, in a fixed order; each has six words."""
    return [
        f"{verb} {size} {topic} note for {person}"
        for verb, size, topic, person in product(VERBS, WANTED, TOPICS, (*FAMILY, *FORMAL))
    ]


def features(prompt: str, completion: str) -> dict[str, int]:
    """Counts that the true reward is linear in.

    on_topic: distinct nouns of the prompt's topic.  off_topic: all other nouns, repeats of an on-topic noun among
    them.  ordered, disordered: neighbours "adjective noun" and "noun adjective".  kind, rude: 1 when such a word occurs.
    closing, wrong_closing: the last word is a closing that suits the person, or one that does not.
    length: distance of the number of nouns from the number asked for.
    """
    asked = prompt.split()
    size, topic, person = asked[1], asked[2], asked[5]
    words = completion.split()
    nouns = [word for word in words if word in _NOUNS]
    relevant = len(set(nouns) & set(TOPICS[topic]))
    last = words[-1] if words else ""
    suits = person in CLOSINGS.get(last, ())
    return {
        "on_topic": relevant,
        "off_topic": len(nouns) - relevant,
        "ordered": sum(a in ADJECTIVES and b in _NOUNS for a, b in pairwise(words)),
        "disordered": sum(a in _NOUNS and b in ADJECTIVES for a, b in pairwise(words)),
        "kind": int(any(word in KIND for word in words)),
        "rude": int(any(word in RUDE for word in words)),
        "closing": int(suits),
        "wrong_closing": int(last in CLOSINGS and not suits),
        "length": abs(len(nouns) - WANTED[size]),
    }


_NOUNS = frozenset(NOUNS)


def completion(prompt: str, rng: random.Random) -> str:
    """One completion of the corpus that the reference learns from: fluent, of mixed quality."""
    topic = prompt.split()[2]
    words: list[str] = []
    opening = rng.random()
    if opening < 0.35:
        words.append(rng.choice(KIND))
    elif opening < 0.65:
        words.append(rng.choice(RUDE))
    for place in range(rng.choice((1, 2, 2, 3))):
        noun = rng.choice(TOPICS[topic]) if rng.random() < 0.5 else rng.choice(NOUNS)
        phrase = [rng.choice(ADJECTIVES), noun]
        if rng.random() < 0.35:
            phrase.reverse()
        words += (["and"] if place else []) + phrase
    if rng.random() < 0.6:
        words.append(rng.choice(tuple(CLOSINGS)))
    return " ".join(words)


def corpus(asked: Sequence[str], rows: int, seed: int) -> list[tuple[str, str]]:
    """``rows`` prompts drawn from ``asked``, each with a completion of mixed quality."""
    rng = random.Random(seed)
    chosen = [rng.choice(asked) for _ in range(rows)]
    return [(prompt, completion(prompt, rng)) for prompt in chosen]
