"""Mistakes of a user, through the command line: one sentence, exit code 2, no traceback, nothing half-written."""

from __future__ import annotations

import errno
import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from assent.cli import main
from tiny_models import save_tiny_llama

PAIR = {"prompt": "name a colour", "chosen": " red", "rejected": " no"}
GOOD = [PAIR, {"prompt": "count", "chosen": " one", "rejected": " none", "annotator": "ben"}]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_llama(tmp_path_factory.mktemp("model"))


@pytest.fixture
def fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Runs a verb that must fail; gives its one sentence and checks that ``out`` was not left behind."""

    def run(*words: object) -> str:
        before = set(tmp_path.rglob("*"))
        capsys.readouterr()
        with pytest.raises(SystemExit) as stopped:
            main([str(w) for w in words])
        printed = capsys.readouterr()
        lines = [line for line in printed.err.splitlines() if line.startswith("assent: ") and "data:" not in line]
        assert stopped.value.code == 2, printed.err
        assert "Traceback" not in printed.err + printed.out
        assert lines, printed.err
        left = set(tmp_path.rglob("*")) - before
        assert not [p for p in left if p.is_file() and p.name != "bad_rows.jsonl"], left
        assert not (tmp_path / "out").exists() or tmp_path / "out" in before
        return lines[-1]

    return run


def write(path: Path, rows: list | str) -> Path:
    path.write_text(rows if isinstance(rows, str) else "\n".join(map(json.dumps, rows)))
    return path


BAD_FILES = {
    "empty": ("", "empty"),
    "not JSON": ('{"prompt": "a", "chosen"\n', "line 1"),
    "a missing column": ([{"prompt": "a", "chosen": "b"}], "rejected"),
    "a misspelt column": ([{"prompt": "a", "chosen": "b", "rejectd": "c"}], "rejected"),
    "a number for a text": (
        [PAIR, PAIR | {"chosen": 3}],
        "line 2 (row 1, counted from 0), column 'chosen': 3 is an int",
    ),
    "no completion": ([PAIR, PAIR | {"rejected": None}], "line 2"),
    "a weight that is not a number": ('{"prompt": "a", "chosen": "b", "rejected": "c", "weight": NaN}', "weight"),
    "a negative weight": ([PAIR | {"weight": -1}], "weight"),
    "a probability above 1": ([PAIR | {"p_chosen": 1.5}], "p_chosen"),
    "an annotator that is a list": ([PAIR | {"annotator": ["anna"]}], "annotator"),
    "both sides alike": ([PAIR | {"rejected": " red"}], ""),
}


@pytest.mark.parametrize("name", BAD_FILES)
@pytest.mark.parametrize("verb", ["inspect", "audit", "train"])
def test_bad_files(verb: str, name: str, fails: Callable[..., str], tmp_path: Path, model: Path) -> None:
    rows, words = BAD_FILES[name]
    file = write(tmp_path / "prefs.jsonl", rows)
    out = tmp_path / "out"
    arguments = {
        "inspect": ["inspect", file],
        "audit": ["audit", file, "--out", out],
        "train": ["train", "--model", model, "--data", file, "--objective", "dpo()", "--output-dir", out],
    }
    assert words in fails(*arguments[verb])


@pytest.mark.parametrize("verb", ["inspect", "audit"])
def test_files_that_are_not_there_or_not_readable(verb: str, fails: Callable[..., str], tmp_path: Path) -> None:
    more = ["--out", tmp_path / "out"] if verb == "audit" else []
    assert "nothing.jsonl" in fails(verb, tmp_path / "nothing.jsonl", *more)
    (tmp_path / "prefs.txt").write_text("hello")
    assert "prefs.txt" in fails(verb, tmp_path / "prefs.txt", *more)
    (tmp_path / "broken.jsonl.gz").write_bytes(gzip.compress(b"x" * 1000)[:20])
    assert "broken.jsonl.gz" in fails(verb, tmp_path / "broken.jsonl.gz", *more)
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 not really")
    assert "broken.parquet" in fails(verb, tmp_path / "broken.parquet", *more)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"--objective": "dop()"}, "did you mean 'dpo'"),
        ({"--objective": "dpo(bta=1)"}, "did you mean 'beta'"),
        ({"--objective": "lcpo(dpo(), reliability=0.9, rate=0.5)"}, "rate"),
        ({"--objective": "weighted(dpo(), column='confidence')"}, "confidence"),
        ({"--objective": "lcpo(dpo(), reliability='audit:nowhere')"}, "nowhere"),
        ({"--objective": "simpo()", "--reference": "start"}, "reference"),
        ({"--objective": "dpo()", "--crossfit-scorer": "text"}, "crossfit_scorer is 'text' and dpo(beta=0.1)"),
        ({"--learning-rat": "1e-4"}, "learning_rate"),
        ({"--learning-rate": "fast"}, "learning"),
        ({"--model": "no/such/folder/anywhere"}, "no/such/folder/anywhere"),
        ({"--max-length": "3"}, "max_length"),
        ({"--per-device-train-batch-size": "0"}, "per_device_train_batch_size is 0; expected at least 1"),
        ({"--learning-rate": "-1"}, "learning_rate is -1.0"),
        ({"--num-train-epochs": "-1"}, "num_train_epochs is -1.0"),
        ({"--report-to": "nothing"}, "report_to names 'nothing'"),
        ({"--eval-data": "nothing.jsonl"}, "nothing.jsonl"),
    ],
)
def test_bad_training_options(
    change: dict[str, str], words: str, fails: Callable[..., str], tmp_path: Path, model: Path
) -> None:
    options = {
        "--model": str(model),
        "--data": str(write(tmp_path / "prefs.jsonl", GOOD)),
        "--objective": "dpo()",
        "--output-dir": str(tmp_path / "out"),
    } | change
    assert words in fails("train", *[word for pair in options.items() for word in pair])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (["--scorer", "logits:score"], "--scorer logits:score: no column 'score'"),
        (["--scorer", "magic"], "no such scorer"),
        (["--apply", "nothing.jsonl"], "cannot read the decisions nothing.jsonl (No such file or directory)"),
        (["--apply", "nothing.jsonl", "--no-text"], "audits nothing"),
    ],
)
def test_bad_audit_options(change: list[str], words: str, fails: Callable[..., str], tmp_path: Path) -> None:
    file = write(tmp_path / "prefs.jsonl", GOOD)
    assert words in fails("audit", file, "--out", tmp_path / "out", *change)


def test_a_folder_of_the_users_stays_when_the_audit_is_refused(fails: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    assert "empty" in fails("audit", write(tmp_path / "prefs.jsonl", ""), "--out", tmp_path / "out")
    assert (tmp_path / "out").is_dir()


def test_models_without_weights_or_tokenizer_parts(fails: Callable[..., str], tmp_path: Path) -> None:
    def train(model: Path, rows: list) -> str:
        file = write(tmp_path / "prefs.jsonl", rows)
        return fails(
            "train", "--model", model, "--data", file, "--objective", "dpo()", "--output-dir", tmp_path / "out"
        )

    whole = save_tiny_llama(tmp_path / "whole")
    chat = [{"prompt": [{"role": "user", "content": "hi"}], "chosen": [{"role": "assistant", "content": "a"}],
             "rejected": [{"role": "assistant", "content": "b"}]}]  # fmt: skip
    assert "chat template" in train(whole, chat)
    bare = save_tiny_llama(tmp_path / "bare", eos_token=None, pad_token=None)
    assert "pad" in train(bare, GOOD)
    (whole / "model.safetensors").unlink()
    assert "weights" in train(whole, GOOD)


@pytest.mark.parametrize("verb", ["audit", "train"])
def test_output_directories_that_cannot_be_written(
    verb: str, fails: Callable[..., str], tmp_path: Path, model: Path
) -> None:
    file = write(tmp_path / "prefs.jsonl", GOOD)
    for out in (file / "out", Path("/proc/assent/out")):
        if verb == "audit":
            said = fails("audit", file, "--out", out)
        else:
            said = fails("train", "--model", model, "--data", file, "--objective", "dpo()", "--output-dir", out)
        assert str(out) in said


@pytest.mark.parametrize("verb", ["audit", "train"])
def test_a_full_disk(
    verb: str, fails: Callable[..., str], tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever moves a finished file into place fails; neither the file nor a part of it is left."""
    import os

    def full(source: str | Path, target: str | Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(target))

    file = write(tmp_path / "prefs.jsonl", GOOD)
    monkeypatch.setattr(os, "replace", full)
    monkeypatch.setattr(os, "rename", full)
    if verb == "audit":
        said = fails("audit", file, "--out", tmp_path / "out")
    else:
        said = fails("train", "--model", model, "--data", file, "--objective", "dpo()",
                     "--output-dir", tmp_path / "out", "--max-steps", 1)  # fmt: skip
    assert "full" in said
