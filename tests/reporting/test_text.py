"""Hostile text: unseen characters are written out, cuts are counted, messages are flattened."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from assent.reporting.text import excerpt, flat, short, visible


def test_direction_changing_and_control_characters_are_written_out():
    assert visible("a\u202eb\u2066c\x00d\ud800e") == "a⟦U+202E⟧b⟦U+2066⟧c⟦U+0000⟧d⟦U+D800⟧e"
    assert visible("line\r\nnext\ttab") == "line\nnext\ttab"
    assert visible("zero\u200bwidth \ufeff \U000e0041") == "zero⟦U+200B⟧width ⟦U+FEFF⟧ ⟦U+E0041⟧"


def test_words_of_any_script_stay_as_they_are():
    assert visible("naïve 你好 שלום 👩‍👩‍👧 नमस्ते") == "naïve 你好 שלום 👩‍👩‍👧 नमस्ते"


@given(st.text(st.characters(codec=None), max_size=200))
def test_visible_text_can_always_be_written_as_utf8(text):
    assert visible(text).encode("utf-8").decode("utf-8") == visible(text)
    assert visible(visible(text)) == visible(text)


def test_a_cut_counts_what_it_hides():
    cut = excerpt("x" * 12_000)
    assert (len(cut.open), len(cut.rest), cut.hidden, cut.length) == (700, 4300, 7000, 12_000)
    short_one = excerpt("y" * 800)
    assert (short_one.open, short_one.rest, short_one.hidden) == ("y" * 800, "", 0)
    assert excerpt(None).length == 0
    words = excerpt("four " * 400)
    assert words.open == "four " * 140 and len(words.open) + len(words.rest) + words.hidden == 2000
    words = excerpt("sevens " * 400)
    assert words.open == "sevens " * 100 and words.open + words.rest == "sevens " * 400
    assert excerpt("abcdef " * 100 + "xyz " * 100, open_at=703).open.endswith("abcdef ")


def test_messages_become_paragraphs():
    talk = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": [{"type": "text", "text": "yes"}]}]
    assert flat(talk) == "user: hi\n\nassistant: yes"
    assert flat([{"type": "image"}]) == "[image]"


def test_names_are_cut_to_one_line():
    assert short("abcdefgh", 5) == "abcd…"
    assert short("a\nb") == "a⏎b"
