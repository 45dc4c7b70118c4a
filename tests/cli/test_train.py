"""``assent train``: one JSON line, YAML, any training argument, dry runs, cross-fitting with the text model, exit codes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from assent.cli import main

sys.path.insert(0, str(Path(__file__).parents[1] / "training"))
from small_run import pair_dicts, save_small_model, write_jsonl


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cli")
    save_small_model(folder / "model")
    write_jsonl(folder / "pairs.jsonl", pair_dicts(48))
    return folder


def words(folder: Path, out: Path, objective: str = "dpo()", **more: object) -> list[str]:
    given = {"model": folder / "model", "data": folder / "pairs.jsonl", "objective": objective, "output_dir": out,
             "learning_rate": 3e-3} | more  # fmt: skip
    return ["train", *(f"--{k.replace('_', '-')}={v}" for k, v in given.items()), "--use-cpu"]


def run(arguments: list[str]) -> int:
    try:
        main(arguments)
    except SystemExit as stopped:
        return int(stopped.code or 0)
    return 0


def test_json_is_one_line_and_everything_else_goes_to_stderr(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = run([*words(folder, tmp_path / "o", "lcpo(dpo())", max_steps=2, eval_fraction=0.2), "--json"])
    printed = capsys.readouterr()
    found = json.loads(printed.out)
    assert code == 0 and printed.out.count("\n") == 1
    assert found["schema"] == 1 and found["steps"] == 2 and found["start"]["margin"] == 0.0
    assert set(found["reliability"]) == {"ann0", "ann1", "ann2"} and "eval_loss" in found["evaluation"]
    assert "start: policy = reference" in printed.err and "step 2/2" in printed.err


def test_yaml_is_overridden_by_the_command_line_and_checked_like_it(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "run.yaml"
    config.write_text(
        f"model: {folder / 'model'}\ndata: {folder / 'pairs.jsonl'}\nobjective: simpo(beta=2.0)\nmax-steps: 1\n"
        "learning_rate: 1e-3\nuse_cpu: true\nlr_scheduler_kwargs: {}\nper_device_train_batch_size: 4\n"
    )
    code = run(["train", "--config", str(config), "--output-dir", str(tmp_path / "o"), "--max_steps", "3", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert code == 0 and found["steps"] == 3 and found["objective"].startswith("simpo(beta=2.0")
    for text, sentence in (
        ("learnin_rate: 3\n", "did you mean 'learning_rate'"), ("learning_rate: fast\n", "invalid float value: 'fast'"),
        ("- a\n", "expected 'name: value' lines"), ("a: [\n", "is not YAML"),
    ):  # fmt: skip
        config.write_text(text)
        assert run(["train", "--config", str(config)]) == 2
        assert sentence in capsys.readouterr().err


def test_a_dry_run_prints_its_configuration_step_zero_and_the_first_rows_and_writes_nothing(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import yaml

    arguments = words(folder, tmp_path / "o", "lcpo(dpo())", per_device_train_batch_size=2)
    assert run([*arguments, "--dry-run"]) == 0
    printed = capsys.readouterr().out
    known, _, rest = printed.partition("# 24 steps on 48 rows")
    assert yaml.safe_load(known)["learning_rate"] == 3e-3 and "policy = reference" in rest
    assert rest.count("chosen:") == 2 and "⟦" in rest
    assert not (tmp_path / "o").exists()
    config = tmp_path / "again.yaml"
    config.write_text(known)  # what it prints is what --config reads
    assert run(["train", "--config", str(config), "--dry-run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["configuration"] == yaml.safe_load(known)


def test_cross_fitting_with_the_text_model_trains_no_folds(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_jsonl(tmp_path / "p.jsonl", pair_dicts(300))
    arguments = words(folder, tmp_path / "o", "lcpo(dpo(), reliability='crossfit')", max_steps=2) + ["--json"]
    assert run([*arguments, f"--data={data}", "--crossfit-scorer", "text"]) == 0
    printed = capsys.readouterr()
    found = json.loads(printed.out)["reliability"]
    assert "1 x the base run" in printed.err and not (tmp_path / "o" / "crossfit" / "fold-0").exists()
    assert found["ann0"] > 0.9 and found["ann1"] > 0.9 and found["ann2"] < 0.85


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (["--learning-rat", "1"], "did you mean 'learning_rate'"),
        (["--objective", "dop()"], "did you mean 'dpo'"),
        (["--objective", "simpo()", "--reference", "start"], "reads no reference"),
        (["--crossfit-scorer", "text"], "is not cross-fitted"),
        (["--warmup-steps", "many"], "invalid float value: 'many'"),
        (["--model", "no/such/place"], "no/such/place"),
        (["stray"], "without a name"),
        (["--optim", "adamm"], "adamm"),
    ],
)
def test_mistakes_are_one_sentence_and_exit_code_2(
    more: list[str], sentence: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = words(folder, tmp_path / "o")
    assert run(["train", "stray", *arguments[1:]] if more == ["stray"] else arguments + more) == 2
    err = capsys.readouterr().err
    assert sentence in err.splitlines()[-1] and "Traceback" not in err
    assert not (tmp_path / "o").exists()


def test_missing_arguments_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["train", "--model", "x"]) == 2
    assert "--data is missing" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("how", ["interrupt", "kill"])
def test_a_run_that_is_stopped_or_killed_goes_on_to_the_same_end(how: str, folder: Path, tmp_path: Path) -> None:
    def command(out: str) -> list[str]:
        code = "import sys; from assent.cli import main; main(sys.argv[1:])"
        given = words(
            folder, tmp_path / out, "lcpo(dpo())", max_steps=60, save_strategy="steps", save_steps=5,
            per_device_train_batch_size=4,
        )  # fmt: skip
        return [sys.executable, "-c", code, *given]

    subprocess.run(command("straight"), check=True, capture_output=True)
    process = subprocess.Popen(command("broken"), stderr=subprocess.PIPE, text=True)
    limit = time.time() + 120
    while not (tmp_path / "broken" / "checkpoint-5" / "trainer_state.json").exists() and time.time() < limit:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGINT if how == "interrupt" else signal.SIGKILL)
    _, err = process.communicate(timeout=120)
    if how == "interrupt":
        assert process.returncode == 130 and "--resume to go on" in err.splitlines()[-1]
    else:
        assert process.returncode == -signal.SIGKILL
    assert not (tmp_path / "broken" / "config.json").exists()
    subprocess.run([*command("broken"), "--resume"], check=True, capture_output=True)
    for name in ("model.safetensors", "assent_state.safetensors"):
        assert (tmp_path / "straight" / name).read_bytes() == (tmp_path / "broken" / name).read_bytes()
