"""``assent audit`` as it is typed: files, one JSON line, decisions, mistakes in one sentence."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from assent.cli import main


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "rows.jsonl"
    rows = [
        {"prompt": f"q{i % 30}", "chosen": f"a {i} " + "word " * (3 + i % 7), "rejected": f"b {i} word",
         "annotator": "ab"[i % 2], "logit": 2.0 - 4.0 * (i % 4 == 0), "writer_chosen": "x", "writer_rejected": "y"}
        for i in range(120)
    ]  # fmt: skip
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


def _run(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stopped:
        main(["audit", *arguments])
    printed = capsys.readouterr()
    return int(stopped.value.code or 0), printed.out, printed.err


def test_json_is_one_line_with_the_keys_of_the_contract(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = data.parent / "out"
    code, printed, _ = _run([str(data), "--out", str(out), "--features-from", "writer", "--json"], capsys)
    assert code == 0 and printed.count("\n") == 1
    found = json.loads(printed)
    assert list(found) == [
        "schema", "pairs", "labels", "noise_rate", "noise_rate_low", "noise_rate_high", "rests_on", "annotators",
        "flags", "seconds",
    ]  # fmt: skip
    assert found["schema"] == 1 and found["pairs"] == found["labels"] == 120
    assert {p.name for p in out.iterdir()} == {"audit.json", "audit.parquet", "audit.html"}
    assert "from <b>120</b>" in (out / "audit.html").read_text() or "120 labels" in (out / "audit.html").read_text()


def test_no_text_leaves_the_texts_out_and_clean_writes_a_copy(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = data.parent / "out"
    arguments = ["--scorer", "logits:logit", "--out", str(out), "--no-text", "--write-clean", "drop"]
    code, printed, err = _run([str(data), *arguments], capsys)
    assert code == 0, err
    assert "word word" not in (out / "audit.html").read_text()
    assert "Decision: keep 90, look at 0, drop 30 labels." in printed
    assert len((out / "clean_drop.jsonl").read_text().splitlines()) == 90
    assert "90 rows, 0 of them changed, 30 left out" in err


def test_decisions_are_applied(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from assent.data import read

    decisions = data.parent / "decisions.jsonl"
    lines = [
        {"schema": 1, "sha256": read(data).fingerprint},
        {"row": 3, "decision": "drop"},
        {"row": 0, "decision": "flip"},
    ]
    decisions.write_text("\n".join(map(json.dumps, lines)))
    out = data.parent / "out"
    code, printed, _ = _run([str(data), "--apply", str(decisions), "--out", str(out), "--json"], capsys)
    found = json.loads(printed)
    assert code == 0 and (found["flip"], found["drop"], found["rows"]) == (1, 1, 119)
    assert json.loads((out / "clean_decided.jsonl").read_text().splitlines()[0])["chosen"] == "b 0 word"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["absent.jsonl"], "no file or directory"),
        (["{data}", "--scorer", "lgits:x"], "did you mean 'logits'"),
        (["{data}", "--write-clean", "flip"], "--write-clean needs --out"),
        (["{data}", "--no-text"], "--no-text needs --out"),
        (["{data}", "--out", "{out}", "--write-clean", "flop"], "did you mean 'flip'"),
        (["{data}", "--scorer", "logits:nothing"], "no column 'nothing'"),
        (["{data}", "--scorer", "logits:logit", "--features-from", "writer"], "read by --scorer text only"),
        (["{data}", "--out", "{out}", "--apply", "{data}", "--no-text"], "--apply carries out decisions"),
        (["{data}", "--bad-rows", "ignore"], "expected 'fail' or 'skip'"),
    ],
)
def test_mistakes_are_one_sentence(
    data: Path, arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = data.parent / "out"
    code, printed, err = _run([a.format(data=data, out=out) for a in arguments], capsys)
    assert code == 2 and printed == ""
    assert words in err and err.count("\n") == 1 and "Traceback" not in err
    assert not out.exists() or not list(out.iterdir())
