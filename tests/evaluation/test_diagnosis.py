"""A diagnosis of a model and a file: its figures against other code's, and what it says of KL and entanglement."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "training"))
from small_run import pair_dicts, save_small_model, write_jsonl

from assent import AssentError, evaluate, train
from assent.evaluation.diagnosis import Diagnosis, diagnose
from assent.evaluation.diagnosis_words import words


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short run of LCPO with its start and its data."""
    folder = tmp_path_factory.mktemp("diagnosis")
    save_small_model(folder / "start")
    rows = [row | {"source": "web" if i % 3 else "book"} for i, row in enumerate(pair_dicts(60))]
    write_jsonl(folder / "pairs.jsonl", rows)
    train(
        folder / "start", folder / "pairs.jsonl", "lcpo(dpo())", folder / "out", use_cpu=True, learning_rate=3e-3,
        max_length=64, disable_tqdm=True, save_strategy="no", reference_logp="memory", diagnostics_steps=0,
    )  # fmt: skip
    return folder


@pytest.fixture(scope="module")
def found(run: Path) -> Diagnosis:
    return diagnose(run / "out", run / "pairs.jsonl", objective="lcpo(dpo())", reference=run / "start", prompts=8)


def test_it_agrees_with_the_ranking(run: Path, found: Diagnosis) -> None:
    ranked = evaluate(run / "out", run / "pairs.jsonl", objective="lcpo(dpo())", reference=run / "start")
    values = found.values
    assert values["pairs"] == ranked.pairs == 60
    assert values["reward/accuracy"] == pytest.approx(ranked.accuracy, abs=1e-9)
    assert values["reward/margin"] == pytest.approx(ranked.margin, abs=1e-6)
    assert values["entanglement/pairs"] == 32 and abs(values["entanglement/cosine"]) <= 1
    assert found.tables["transition"].keys() == {"right_right", "right_wrong", "wrong_right", "wrong_wrong"}
    assert [b["bucket"] for b in found.tables["buckets"]["source"]] == ["web", "book"]


def test_reliabilities_are_those_of_the_run(run: Path, found: Diagnosis) -> None:
    from assent.training.checkpoints import load_state

    state, names, _ = load_state(run / "out")
    assert found.values["reliability/mean"] == pytest.approx(state["eta"].mean().item()) and len(names) == 3
    other = diagnose(run / "out", run / "pairs.jsonl", objective="lcpo(simpo())", prompts=0, gradients=0)
    assert "reliability/mean" not in other.values  # this objective has learnt none here
    fixed = diagnose(
        run / "out", run / "pairs.jsonl", objective="lcpo(simpo(), reliability=0.7)", prompts=0, gradients=0
    )
    assert fixed.values["reliability/mean"] == pytest.approx(0.7)


def test_kl_of_drawn_completions_against_the_models(run: Path, found: Diagnosis) -> None:
    """k1 by the log-probabilities of transformers' own forward over the completions, token by token."""
    from transformers import AutoModelForCausalLM

    from assent.data.reading import read
    from assent.data.tokens import tokenise
    from assent.sampling import ModelGenerator, SamplingSettings, Texts
    from assent.scoring.loading import load_tokenizer
    from assent.training.greedy import prompts_in

    policy, start = (AutoModelForCausalLM.from_pretrained(run / name).eval() for name in ("out", "start"))
    tokenizer = load_tokenizer(run / "out")
    prompts = prompts_in(tokenise(read(run / "pairs.jsonl"), tokenizer, progress=False).rows, 8)
    made = ModelGenerator(policy, Texts(tokenizer, policy).end).generate(
        prompts, 1, SamplingSettings(max_new_tokens=64)
    )
    sums, full = [], []
    with torch.no_grad():
        for ids, one in zip(prompts, made, strict=True):
            whole = torch.tensor([[*ids.tolist(), *one.ids.tolist()]])
            p, r = (torch.log_softmax(m(whole).logits[0, len(ids) - 1 : -1].double(), -1) for m in (policy, start))
            token = whole[0, len(ids) :, None]
            sums.append((p - r).gather(1, token).sum().item())
            full.append((p.exp() * (p - r)).sum().item())
    assert found.values["kl/k1"] == pytest.approx(sum(sums) / 8, abs=1e-4)
    assert found.values["kl/full"] == pytest.approx(sum(full) / 8, abs=1e-4)
    spread = torch.tensor(sums, dtype=torch.float64).std().item() / math.sqrt(8)
    assert found.values["kl/k1_se"] == pytest.approx(spread, abs=1e-4)
    assert found.values["kl/k3"] > 0 and len(found.samples) == 8


def test_a_model_against_itself_has_not_moved(run: Path) -> None:
    same = diagnose(
        run / "start", run / "pairs.jsonl", reference=run / "start", prompts=4, gradients=0, max_new_tokens=8
    ).values
    still = (
        "reward/margin",
        "displacement/chosen",
        "three_d/drop",
        "kl/k1",
        "kl/k3",
        "kl/full",
        "kl/pairs",
        "difficulty/lost",
    )
    assert [same[name] for name in still] == pytest.approx([0.0] * len(still), abs=1e-6)
    assert same["ranking/accuracy"] == same["ranking/reference"] and same["calibration/brier"] == pytest.approx(0.25)


def test_every_key_is_explained(run: Path, found: Diagnosis) -> None:
    """What a run and the command write stands in docs/diagnostics.md, each key in full."""
    told = train(
        run / "start", run / "pairs.jsonl", "lcpo(dpo())", run / "looked", use_cpu=True, max_steps=2, max_length=64,
        disable_tqdm=True, save_strategy="no", reference_logp="live", eval_fraction=0.2, diagnostics_steps=1,
    )  # fmt: skip
    lines = [json.loads(line) for line in (told.output_dir / "diagnostics.jsonl").read_text().splitlines()]
    keys = {key for line in lines for key in line["values"]} | found.values.keys()
    explained = (Path(__file__).parents[2] / "docs" / "diagnostics.md").read_text()
    names = {key.removeprefix("entanglement/") for key in keys if not key.endswith("_se")}
    assert len(names) > 60 and [name for name in sorted(names) if f"`{name}`" not in explained] == []
    assert {table for line in lines for table in line["tables"]} == {"calibration", "buckets", "transition", "probe"}


def test_words_and_file(run: Path, found: Diagnosis, tmp_path: Path) -> None:
    text = words(found)
    assert f"{found.values['ranking/accuracy']:.4f}" in text and "the reference's share" in text
    assert "web" in text and "wrong both times" in text and "\x1b" not in text
    kept = json.loads(found.write(tmp_path / "a" / "b").read_text())
    assert kept == found.to_json() and kept["schema"] == 1
    assert kept["values"]["kl/k1"] == pytest.approx(found.values["kl/k1"])


def test_without_a_reference_less_is_told(run: Path) -> None:
    less = diagnose(run / "out", run / "pairs.jsonl", objective="simpo()", prompts=2, max_new_tokens=4, gradients=2)
    assert "ranking/reference" not in less.values and "kl/k1" not in less.values and "samples/nll" in less.values
    ranked = evaluate(run / "out", run / "pairs.jsonl", objective="simpo()")
    assert less.values["calibration/ece"] == pytest.approx(ranked.calibration_error, abs=1e-6)
    assert "transition" not in less.tables and less.values["entanglement/pairs"] == 2
    more = diagnose(
        run / "out", run / "pairs.jsonl", objective="simpo()", reference=run / "start", prompts=0, gradients=0
    )
    assert "ranking/reference" in more.values and "displacement/chosen" in more.values
    assert words(less).count("\n") < words(more).count("\n")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"objective": "dpo()"}, "reads a reference; give the model that training started from"),
        ({"objective": "bradley_terry()", "reference": "start"}, "a reward model has no reference"),
        ({"objective": "bradley_terry()"}, "without a trained reward head"),
        ({"objective": "simpo()", "form": "guess"}, "the form of the gradients is 'guess'"),
    ],
)
def test_refusals(run: Path, arguments: dict[str, Any], sentence: str) -> None:
    with pytest.raises(AssentError, match=sentence):
        diagnose(run / "out", run / "pairs.jsonl", **arguments)


def test_the_command_prints_and_writes(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from assent.cli import main

    call = ["eval", "--model", str(run / "out"), "--data", str(run / "pairs.jsonl"), "--objective", "simpo()"]
    with pytest.raises(SystemExit) as end:
        main([*call, "--diagnostics", "--json", "--out", str(tmp_path / "d")])
    told = json.loads(capsys.readouterr().out)
    assert end.value.code == 0 and told == json.loads((tmp_path / "d" / "diagnostics.json").read_text())
    for wrong, sentence in (
        (["--out", "x"], "are read with --diagnostics"),
        (["--diagnostics", "--judge", "reward:m"], "give one of them"),
    ):
        with pytest.raises(SystemExit) as end:
            main([*call, *wrong])
        assert end.value.code == 2 and sentence in capsys.readouterr().err
