"""Style features of texts whose counts can be read off."""

from __future__ import annotations

import numpy as np
import pytest

from assent.auditing import style

TEXT = "# Title\n\n- one\n- two\n\n1. first\n2. second\n\nI may be sorry. Is it **so**? `code`"


def _value(text: str, name: str) -> float:
    return float(style.style([text], [style.words_of(text)])[0, style.NAMES.index(name)])


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("length", len(TEXT)), ("bullets", 2), ("numbered", 2), ("headings", 1), ("words", 15), ("mark '**'", 2),
        ("mark '`'", 2), ("mark '?'", 1), ("mark '\\n\\n'", 3), ("hedge", 1), ("refusal", 1), ("first_person", 1),
        ("digits", 2), ("lines", 9),
    ],
)  # fmt: skip
def test_counts_are_on_a_log_scale(name: str, count: int) -> None:
    assert np.expm1(_value(TEXT, name)) == pytest.approx(count, rel=1e-4)


def test_shapes() -> None:
    assert _value("It ends.", "ends_whole") == 1 and _value("It does not", "ends_whole") == 0
    assert _value("Is it?", "ends_asking") == 1
    assert _value("  ", "empty") == 1 and _value("x", "empty") == 0
    assert _value("a a a b", "distinct_share") == 0.5
    assert _value("same line\nsame line\nother line", "repeated_lines") == pytest.approx(1 / 3)
    assert _value("spam " * 200, "compression") < 0.1 < _value("Every word differs here, more or less.", "compression")


def test_lone_surrogates_and_long_texts_pass() -> None:
    out = style.style(
        ["\ud800 broken", "x" * 100_000], [style.words_of("\ud800 broken"), style.words_of("x" * 100_000)]
    )
    assert np.isfinite(out).all()
    assert np.expm1(out[1, 0]) == pytest.approx(100_000, rel=1e-3)


def test_overlap_with_the_prompt() -> None:
    out = style.overlap([{"a", "b", "c", "d"}], [{"a", "b", "x"}], [True])
    np.testing.assert_allclose(out, [[0.5, 2 / 3, np.log(3), 1.0]], rtol=1e-6)
