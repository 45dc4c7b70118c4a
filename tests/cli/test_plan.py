"""``assent plan``: one line of JSON or a table, the arguments of train, and what becomes of mistakes."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from assent.cli import main

sys.path.insert(0, str(Path(__file__).parents[1] / "training"))
from small_run import pair_dicts, save_small_model, write_jsonl

QUICK = ["--use-cpu", "--no-knobs", "--probe-seconds", "0.2"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cli")
    save_small_model(folder / "model")
    write_jsonl(folder / "pairs.jsonl", pair_dicts(12))
    return folder


def run(*words: object) -> int:
    with pytest.raises(SystemExit) as stopped:
        main(["plan", *map(str, words)])
    return int(stopped.value.code or 0)


def of(folder: Path, *more: object) -> list[object]:
    return ["--model", folder / "model", "--data", folder / "pairs.jsonl", *QUICK, *more]


def test_one_line_of_json(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(folder.rglob("*"))
    more = ["--objective", "lcpo(dpo(beta=0.3))", "--per-device-train-batch-size", 3, "--num-train-epochs", 2]
    assert run(*of(folder, *more, "--output-dir", folder / "out", "--json")) == 0
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    told = json.loads(out)
    assert told["schema"] == 1 and told["knobs"] == [] and (told["rows"], told["steps"]) == (12, 8)
    assert told["peak_bytes"] == sum(told["parts"].values())
    keys = ("tokens_per_second", "pairs_per_second", "seconds", "reference_seconds", "cache_bytes")
    assert all(told[key] > 0 for key in keys)
    assert sorted(folder.rglob("*")) == before  # nothing is written


def test_the_table_and_a_configuration(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "run.yaml"
    config.write_text(f"model: {folder / 'model'}\ndata: {folder / 'pairs.jsonl'}\nobjective: simpo()\nmax_steps: 5\n")
    assert run("--config", config, *QUICK) == 0
    out = capsys.readouterr().out
    assert "peak memory" in out and "5 steps on 12 rows" in out and "cache        0.0 MB" in out and "it fits" in out


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--data", "x.jsonl"], "--model is missing"),
        (["--model", "M"], "--data is missing"),
        (["--model", "M", "--data", "x.jsonl", "--objectiv", "dpo()"], "did you mean 'objective'"),
        (["--model", "M", "--data", "x.jsonl", "--use-cpu", "--probe-seconds", "0"], "expected a positive number"),
        (
            ["--model", "M", "--data", "x.jsonl", "--use-cpu", "--objective", "simpo()", "--reference", "R"],
            "no reference",
        ),
    ],
)
def test_mistakes_are_told_in_one_sentence(words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*words) == 2
    printed = capsys.readouterr()
    assert sentence in printed.err and printed.err.count("\n") == 1 and not printed.out


def test_help_and_overview(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--help") == 0
    assert "which knob to turn" in " ".join(capsys.readouterr().out.split())
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "plan " in capsys.readouterr().out
