"""A small world of texts with known truth: what is better follows from length, lists and a few words."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

NOUNS = [
    "river",
    "stone",
    "boat",
    "letter",
    "harbour",
    "light",
    "song",
    "bread",
    "window",
    "garden",
    "road",
    "winter",
    "table",
    "paper",
    "morning",
    "field",
]
GOOD, BAD = ["clear", "careful", "helpful", "kind"], ["rude", "vague", "wrong", "lazy"]


@dataclass(frozen=True)
class TextWorld:
    """rows: pairs with one label each (two where judged twice); right [N]: whether each row's label is true."""

    rows: list[dict]
    right: np.ndarray


def _response(random: np.random.Generator) -> tuple[str, float]:
    words = int(random.integers(6, 60))
    good, bad = random.poisson(1.5), random.poisson(1.0)
    text = list(random.choice(NOUNS, words)) + list(random.choice(GOOD, good)) + list(random.choice(BAD, bad))
    random.shuffle(text)
    utility = 1.2 * np.log(words) + 0.7 * good - 0.9 * bad
    if random.random() < 0.3:
        text.insert(len(text) // 2, "\n- " + "\n- ".join(random.choice(NOUNS, 3)))
        utility += 1.0
    return " ".join(text) + ".", utility


def text_world(
    pairs: int, reliability: dict[str, float], seed: int, twice: float = 0.0, scale: float = 2.0
) -> TextWorld:
    """``pairs`` pairs with a Bradley-Terry truth, judged by annotators of the given reliabilities."""
    random = np.random.default_rng(seed)
    names = list(reliability)
    rows, right = [], []
    for i in range(pairs):
        (a, u), (b, v) = _response(random), _response(random)
        if random.random() > 1 / (1 + np.exp(-scale * (u - v))):
            a, b = b, a  # a is the better one from here on
        count = 2 if random.random() < twice else 1
        for k in random.choice(len(names), count, replace=False):
            ok = bool(random.random() < reliability[names[k]])
            chosen, rejected = (a, b) if ok else (b, a)
            prompt = f"Write about the {NOUNS[i % 16]}, please, number {i}."
            rows.append({"prompt": prompt, "chosen": chosen, "rejected": rejected, "annotator": names[k]})
            right.append(ok)
    return TextWorld(rows, np.array(right))
