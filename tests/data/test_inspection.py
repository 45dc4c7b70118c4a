"""What people see: stretches by mask, safe characters, cut prompts in front."""

from __future__ import annotations

from assent.data import read, tokenise
from assent.data.inspection import printable, shortened, show, show_record, stretches

ROW = {"prompt": "two plus two plus two is", "chosen": " four four", "rejected": " five"}


def test_stretches_tell_prompt_counted_and_cut(words):
    tokenizer = words()
    (whole,) = tokenise(read([ROW]), tokenizer).rows
    (cut,) = tokenise(read([ROW]), tokenizer, max_length=6).rows
    squeezed = [(what, text.strip()) for what, text in stretches(cut.chosen, tokenizer, whole.chosen)]
    assert squeezed == [("cut", "two plus two"), ("prompt", "plus two is"), ("counted", "four four </s>")]


def test_special_tokens_stand_alone_and_begin_stays_in_front(bytes_bpe):
    tokenizer = bytes_bpe()
    rows = read([{"prompt": "Two plus two plus two is", "chosen": " four", "rejected": " blue"}])
    (whole,) = tokenise(rows, tokenizer).rows
    (cut,) = tokenise(rows, tokenizer, max_length=5).rows
    assert list(stretches(cut.chosen, tokenizer, whole.chosen)) == [
        ("special", "<s>"),
        ("cut", "Two plus two plus"),
        ("prompt", " two is"),
        ("counted", " four</s>"),
    ]


def test_show_with_and_without_colour(words):
    tokenizer = words()
    (pair,) = tokenise(read([ROW]), tokenizer).rows
    plain = show(pair, tokenizer, colour=False)
    assert "\x1b" not in plain and "⟦four four </s>⟧" in plain
    assert "chosen: 6 prompt + 3 counted tokens" in plain and "6 tokens shared; weight 1, target 1, 1 label" in plain
    coloured = show(pair, tokenizer)
    assert "\x1b[32mfour four </s>\x1b[0m" in coloured and "\x1b[2mtwo plus two plus two is\x1b[0m" in coloured


def test_hostile_text_cannot_reach_the_terminal():
    assert printable("a\x1b[31m\r\n\u202eb🙂\t") == "a\\x1b[31m\\x0d↵\n\\u202eb🙂\t"
    row = read([{"prompt": "[bold]p", "chosen": "\x1b]0;owned\x07", "rejected": ":smile:", "annotator": "\x1b"}]).rows[
        0
    ]
    text = show_record(row, title="pair 0", colour=False)
    assert "\x1b" not in text and "[bold]p" in text and "\\x1b]0;owned\\x07" in text and ":smile:" in text


def test_long_text_says_what_is_left_out():
    assert shortened("a" * 2000) == "a" * 2000
    assert shortened("a" * 2500) == "a" * 1000 + " [... 500 characters ...] " + "a" * 1000
