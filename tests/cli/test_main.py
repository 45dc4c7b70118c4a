"""The command line's frame: help, unknown verbs, and what becomes of mistakes."""

from __future__ import annotations

import errno

import pytest

from assent.cli import VERBS, main
from assent.cli.guard import guarded
from assent.errors import AssentError


def _exit(arguments: list[str]) -> int:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    return stopped.value.code


def test_help_names_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    assert _exit(["--help"]) == 0
    printed = capsys.readouterr().out
    assert all(verb in printed for verb in VERBS)


def test_unknown_verbs_get_the_nearest_known_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert _exit(["audt"]) == 2
    assert "did you mean 'audit'?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["inspect"], "Missing argument"),
        (["inspect", "a.jsonl", "b.jsonl"], "unexpected extra argument (b.jsonl)"),
        (["demo", "--seed", "x"], "'--seed'"),
        (["audit", "a.jsonl", "--nothing"], "No such option: --nothing"),
        (["train", "--lora-r"], "'--lora-r' requires an argument"),
    ],
)
def test_words_that_no_option_reads(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert _exit(words) == 2
    printed = capsys.readouterr()
    assert said in printed.err.replace("argument(s)", "argument") and f"assent {words[0]} --help" in printed.err
    assert printed.err.count("\n") == 1 and printed.out == ""


@pytest.mark.parametrize("verb", sorted(VERBS))
def test_every_verb_has_help(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert _exit([verb, "--help"]) == 0
    assert f"assent {verb}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("mistake", "code", "words"),
    [
        (AssentError("the file\nis empty"), 2, "the file is empty"),
        (OSError(errno.ENOSPC, "No space left", "out/x"), 2, "the disk is full"),
        (PermissionError(errno.EACCES, "no", "/out"), 2, "/out: permission is denied"),
        (KeyboardInterrupt("saved; run it again with --resume"), 130, "--resume"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_mistakes_become_one_sentence(
    mistake: BaseException, code: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def verb() -> None:
        raise mistake

    with pytest.raises(SystemExit) as stopped:
        guarded(verb)()
    printed = capsys.readouterr().err
    assert stopped.value.code == code
    assert words in printed and printed.count("\n") == 1
