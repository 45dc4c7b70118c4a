"""``assent cache``: the verbs on a small model, and what becomes of mistakes."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from assent.cli import main

sys.path.insert(0, str(Path(__file__).parents[1] / "training"))
from small_run import pair_dicts, save_small_model, write_jsonl


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cli")
    save_small_model(folder / "model")
    save_small_model(folder / "other", seed=1)
    write_jsonl(folder / "pairs.jsonl", pair_dicts(12))
    return folder


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ASSENT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def run(*words: object) -> int:
    with pytest.raises(SystemExit) as stopped:
        main(["cache", *map(str, words)])
    return int(stopped.value.code or 0)


def told(capsys: pytest.CaptureFixture[str], *words: object) -> dict:
    """The one line of JSON of an action that succeeds."""
    assert run(*words, "--json") == 0
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    found = json.loads(out)
    assert found["schema"] == 1
    return found


def build(folder: Path, *more: object) -> list[object]:
    return ["build", "--model", folder / "model", "--data", folder / "pairs.jsonl", "--use-cpu", *more]


def test_build_info_verify_and_prune(folder: Path, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = told(capsys, *build(folder))
    assert first["found"] == 0 and first["computed"] == 24 and first["tokens"] > 24
    again = told(capsys, *build(folder, "--objective", "lcpo(dpo(beta=0.3))", "--learning-rate", "1e-4"))
    assert (again["found"], again["computed"], again["key"]) == (24, 0, first["key"])
    (model,) = told(capsys, "info")["models"]
    assert model["key"] == first["key"] and model["sequences"] == 24 and model["tokens"] == first["tokens"]
    assert model["name"] == str(folder / "model") and model["made_of"]["dtype"] == "float32"
    assert told(capsys, "verify") == {"schema": 1, "root": str(root), "files": 1, "refused": []}
    assert run("info") == 0 and first["key"] in capsys.readouterr().out
    assert run("verify") == 0 and "1 files of 1 models are whole" in capsys.readouterr().out
    assert told(capsys, "prune")["files"] == 0 and told(capsys, "prune", "--older-than", 1)["models"] == 0
    assert told(capsys, "prune", "--key", first["key"][:8])["models"] == 1
    assert told(capsys, "info")["models"] == []
    assert run("prune") == 0 and "0 models and 0 single files" in capsys.readouterr().out


def test_the_values_are_those_of_the_model(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import torch

    from assent.data.reading import read
    from assent.data.tokens import tokenise
    from assent.scoring.loading import load_policy, load_tokenizer
    from assent.scoring.reference import precompute
    from assent.scoring.shards import read as shard
    from assent.scoring.table import Index

    found = told(capsys, *build(folder, "--reference", folder / "other"))
    (path,) = Path(found["folder"]).glob("*.safetensors")
    one = shard(path, found["key"])
    rows = tokenise(
        read(folder / "pairs.jsonl"), load_tokenizer(folder / "model"), max_length=1024, progress=False
    ).rows
    table = precompute(load_policy(folder / "other", dtype="float32").model, rows, pad_token_id=0)
    sequences = [s for row in rows for s in (row.chosen, row.rejected)]
    values = Index.of([(one.keys, one.places)]).gather([one.values], sequences, "missing")
    expected = table.keys.gather([table.values.numpy()], sequences, "missing")
    torch.testing.assert_close(torch.from_numpy(values), torch.from_numpy(expected), rtol=0, atol=1e-5)


def test_other_models_formats_and_paths_have_other_keys(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = [[], ["--reference", folder / "other"], ["--dtype", "bfloat16"], ["--scoring", "padded"], ["--bf16"]]
    keys = [told(capsys, *build(folder, *more))["key"] for more in options]
    assert len(set(keys)) == 5
    # the start of a fresh adapter is the base; its weights are read in the model's own format, float32 here
    assert told(capsys, *build(folder, "--lora-r", 2)) | {"folder": ""} == {
        "schema": 1, "key": keys[0], "folder": "", "found": 24, "computed": 0, "tokens": 0,
    }  # fmt: skip


@pytest.mark.parametrize("more", [[], ["--reference", "other"], ["--lora-r", "2"], ["--scoring", "padded", "--bf16"]])
def test_training_finds_every_row_that_was_built(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str]
) -> None:
    more = [str(folder / word) if word == "other" else word for word in more]
    key = told(capsys, *build(folder, *more))["key"]
    words = ["--model", folder / "model", "--data", folder / "pairs.jsonl", "--use-cpu", "--output-dir", tmp_path / "o"]
    with pytest.raises(SystemExit) as stopped:
        main(["train", *map(str, words), "--objective", "dpo()", "--eval-fraction", "0.25", *more])
    printed = capsys.readouterr().err
    assert stopped.value.code in (0, None)
    assert "24 sequences in the cache, 0 computed" in printed and key in printed


def test_damage_is_told_and_mended(folder: Path, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told(capsys, *build(folder))
    (path,) = root.glob("*/*.safetensors")
    content = bytearray(path.read_bytes())
    content[-2] ^= 4
    path.write_bytes(content)
    assert run("verify", "--json") == 2
    printed = capsys.readouterr()
    assert path.name in json.loads(printed.out)["refused"][0] and printed.err.count("\n") == 1
    assert "1 files of" in printed.err and "'assent cache prune' removes them" in printed.err
    assert run("verify") == 2 and path.name in capsys.readouterr().out
    assert run("info") == 0 and "1 files are refused" in capsys.readouterr().out
    assert run(*build(folder)) == 2 and "does not hash to its name" in capsys.readouterr().err
    assert told(capsys, "prune")["files"] == 1
    assert told(capsys, *build(folder))["computed"] == 24 and told(capsys, "verify")["refused"] == []


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "cache needs an action; expected build, info, verify, prune"),
        (["buld"], "cache has no action 'buld'; did you mean 'build'?"),
        (["build", "--data", "x.jsonl"], "--model is missing"),
        (["build", "--model", "M", "--data", "x.jsonl", "--objectiv", "dpo()"], "did you mean 'objective'"),
        (["build", "--model", "M", "--data", "x.jsonl", "--objective", "simpo()"], "reads no reference"),
        (["verify", "--key", "abc"], "0 models of"),
        (["prune", "--key", "abc"], "expected one: 'assent cache info' lists them"),
    ],
)
def test_mistakes_are_told_in_one_sentence(words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*words) == 2
    printed = capsys.readouterr()
    assert sentence in printed.err and printed.err.count("\n") == 1 and not printed.out


@pytest.mark.parametrize("action", ["build", "info", "verify", "prune"])
def test_every_action_has_help(action: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(action, "--help") == 0
    assert f"assent cache {action}" in capsys.readouterr().out
    assert run("--help") == 0 and "build | info | verify | prune" in " ".join(capsys.readouterr().out.split())
