"""``assent inspect``: rows, the table of counts, and one line of JSON."""

from __future__ import annotations

import json

import pytest

from assent.cli import main
from tiny_models import byte_tokenizer

ROWS = [
    {"q": "name a colour", "chosen": " red", "rejected": " no", "annotator": "anna"},
    {"q": "name a colour", "chosen": " no", "rejected": " red", "annotator": "ben"},
    {"q": "count to a number that is long", "chosen": " one", "rejected": " none", "annotator": "ben"},
]


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "prefs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return str(path)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    byte_tokenizer().save_pretrained(folder)
    return str(folder)


def run(capsys, *words):
    with pytest.raises(SystemExit) as stopped:
        main(["inspect", *map(str, words)])
    assert stopped.value.code in (0, None)
    return capsys.readouterr()


def test_records_without_a_model(capsys, file):
    out = run(capsys, file, "--columns", "q=prompt").out
    assert "pair 0  (row 0 of" in out and "⟦ red⟧" in out and "label by ben: p 0, weight 1, row 1" in out
    assert "3 rows, 2 pairs, 3 labels by 2 annotators" in out and "rows merged" in out
    assert "\x1b" not in out


def test_tokens_and_truncation(capsys, file, model):
    out = run(capsys, file, "--columns", "q=prompt", "--model", model, "--max-length", "25").out
    assert "chosen: 13 prompt + 5 counted tokens" in out and "⟦ red</s>⟧" in out
    # 30 + 6 tokens on the longer side: 11 come off both prompts
    assert (
        "chosen: 19 prompt + 5 counted tokens, 11 cut off" in out
        and "✂count to a ✂number that is long⟦ one</s>⟧" in out
    )
    assert "prompt truncated" in out and "2 kept (at most 25 tokens)" in out


def test_lost_rows_are_shown_and_training_is_foretold(capsys, file, model):
    words = [file, "--columns", "q=prompt", "--model", model, "--max-length", "25", "--truncation", "drop"]
    out = run(capsys, *words).out
    assert "chosen: 35 tokens, the row is dropped" in out
    assert "50.0% of the rows are lost, more than 5%: training refuses that unless --allow-loss is given" in out


def test_json(capsys, file, model):
    printed = run(capsys, file, "--columns", "q=prompt", "--model", model, "--json").out
    found = json.loads(printed)
    assert printed.count("\n") == 1 and found["schema"] == 1
    assert (found["rows_read"], found["rows"], found["labels"], found["kind"]) == (3, 2, 3, "pairs")
    assert found["annotators"] == ["anna", "ben"] and found["events"]["rows merged"]["count"] == 1
    assert found["tokens"]["lost"] == 0 and found["tokens"]["counted"]["max"] == 6.0
    assert found["tokens"]["prompt"]["total"] == 2 * 13 + 2 * 30


def test_colours_on_request(capsys, file, model, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.delenv("NO_COLOR", raising=False)
    out = run(capsys, file, "--columns", "q=prompt", "--model", model, "--rows", "1").out
    assert "\x1b[32m red</s>\x1b[0m" in out and "⟦" not in out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--max-length", "9"], "--max-length and --truncation cut tokens; give --model"),
        (["--trust-remote-code"], "give --model, or leave it out"),
        (["--columns", "z=prompt"], "no column 'z'"),
        (["--kind", "judgements"], "missing column 'response_a', 'response_b', 'p_b'"),
    ],
)
def test_options_that_change_nothing_or_do_not_fit_are_refused(capsys, file, words, message):
    with pytest.raises(SystemExit) as stopped:
        main(["inspect", file, *words])
    printed = capsys.readouterr()
    assert stopped.value.code == 2 and message in printed.err and printed.out == ""


def test_bad_rows_are_written_beside(capsys, tmp_path, monkeypatch, file):
    monkeypatch.chdir(tmp_path)
    with open(file, "a") as more:
        more.write("{}\n")
    out = run(capsys, file, "--columns", "q=prompt", "--bad-rows", "skip").out
    assert "bad rows skipped" in out and json.loads((tmp_path / "bad_rows.jsonl").read_text())["row"] == 3
