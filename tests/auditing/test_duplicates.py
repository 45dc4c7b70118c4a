"""MinHash classes: equal texts, nearly equal texts, and the estimate of shared shingles against the truth."""

from __future__ import annotations

import numpy as np

from assent.auditing.duplicates import minhashes, text_classes

WORDS = [
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


def _text(random: np.random.Generator, words: int = 120) -> list[str]:
    return [f"{w}{random.integers(50)}" for w in random.choice(WORDS, words)]


def test_case_and_spacing_do_not_count() -> None:
    (classes,) = text_classes([["One  Two", "one two", "one three"]])
    assert classes[0] == classes[1] != classes[2]


def test_the_share_of_equal_hashes_estimates_the_shared_shingles() -> None:
    random = np.random.default_rng(0)
    errors = []
    for _ in range(40):
        words = _text(random, 400)
        a, b = " ".join(words), " ".join(words[: int(random.integers(200, 400))])
        first, second = ({t[i : i + 12] for i in range(len(t) - 11)} for t in (a, b))
        signatures = minhashes([a, b])
        errors.append((signatures[0] == signatures[1]).mean() - len(first & second) / len(first | second))
    assert abs(np.mean(errors)) < 0.04  # 32 hashes and thinned shingles: standard error about .015
    assert np.std(errors) < 0.13


def test_one_changed_word_joins_and_another_text_does_not() -> None:
    random = np.random.default_rng(1)
    texts = [_text(random) for _ in range(200)]
    changed = [t[:60] + ["changed"] + t[61:] for t in texts]
    first, second = text_classes([[" ".join(t) for t in texts], [" ".join(t) for t in changed]])
    assert (first == second).mean() > 0.95
    assert len(np.unique(first)) == 200


def test_short_and_empty_texts_have_classes_of_their_own() -> None:
    (classes,) = text_classes([["", "a", "b", "yes", "no", ""]])
    assert classes[0] == classes[5]
    assert len(np.unique(classes)) == 5
