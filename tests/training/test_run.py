"""The verb: from files to a directory that transformers loads; adapters, imitation, interruption, refusals."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from small_run import largest_difference, pair_dicts, small_model, small_tokenizer, write_jsonl
from transformers import AutoModelForCausalLM, TrainerCallback

from assent import AssentError, train
from assent.training.checkpoints import checkpoints, load_state

QUICK: dict[str, Any] = {
    "use_cpu": True, "learning_rate": 3e-3, "max_length": 64, "disable_tqdm": True, "logging_steps": 2,
    "save_strategy": "no",
}  # fmt: skip


def weights(folder: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(folder)


def test_a_run_writes_an_ordinary_directory(small_folder: Path, small_pairs: Path, tmp_path: Path) -> None:
    found = train(
        str(small_folder), str(small_pairs), "lcpo(dpo())", tmp_path / "out", eval_fraction=0.2,
        **QUICK | {"save_strategy": "epoch", "num_train_epochs": 2},
    )  # fmt: skip
    assert found.start.margin == 0.0 and found.start.loss == pytest.approx(0.693147, abs=1e-6)
    assert largest_difference(weights(tmp_path / "out"), found.model) == 0.0
    assert largest_difference(weights(tmp_path / "out"), weights(small_folder)) > 1e-4
    state, names, objective = load_state(tmp_path / "out")
    assert names == ("ann0", "ann1", "ann2") and objective == str(found.objective)
    assert found.reliability == dict(zip(names, state["eta"].tolist(), strict=True))
    assert found.steps == 2 * -(-found.rows // 8) and found.evaluation["eval_loss"] < 0.6931
    card = (tmp_path / "out" / "README.md").read_text()
    assert "lcpo(dpo(beta=0.1)" in card and "ann2" in card and "--eval-fraction 0.2" in card
    table = [p.name for p in (tmp_path / "out").glob("*.parquet")]
    assert sorted(table) == [
        "labels.parquet",
        "pairs-epoch-1.parquet",
        "pairs-epoch-2.parquet",
        "reliabilities.parquet",
    ]
    assert json.dumps(found.to_json()) and "lcpo/noise_rate" in found.metrics


def test_a_run_in_memory_equals_one_from_disk(small_folder: Path, small_pairs: Path, tmp_path: Path) -> None:
    rows = [json.loads(line) for line in small_pairs.read_text().splitlines()]
    first = train(small_folder, small_pairs, "dpo()", tmp_path / "a", max_steps=2, **QUICK)
    model = small_model(0)
    second = train(model, rows, "dpo()", tmp_path / "b", tokenizer=small_tokenizer(), max_steps=2, **QUICK)
    assert largest_difference(first.model, second.model) == 0.0
    assert largest_difference(model, small_model(0)) == 0.0, "the model that was passed is left alone"


@pytest.mark.parametrize("kind", ["sft", "pairs"])
def test_imitation_through_the_same_verb(kind: str, small_folder: Path, tmp_path: Path) -> None:
    rows = pair_dicts(24)
    if kind == "sft":
        rows = [{"prompt": r["prompt"], "completion": r["chosen"]} for r in rows]
    found = train(
        small_folder, write_jsonl(tmp_path / "d.jsonl", rows), "sft()", tmp_path / "out", max_steps=12, warmup_steps=0,
        **QUICK | {"learning_rate": 1e-2},
    )  # fmt: skip
    losses = [h["loss"] for h in found.trainer.state.log_history if "loss" in h]
    assert losses[0] == pytest.approx(3.9, abs=0.5) and losses[-1] < 0.75 * losses[0]
    assert found.metrics["nll/token"] > 0 and found.reliability == {}


def test_imitating_pairs_uses_the_better_side_only(small_folder: Path, tmp_path: Path) -> None:
    rows = pair_dicts(16)
    pairs = write_jsonl(tmp_path / "p.jsonl", rows)
    sides = write_jsonl(tmp_path / "s.jsonl", [{"prompt": r["prompt"], "completion": r["chosen"]} for r in rows])
    models = [train(small_folder, d, "sft()", tmp_path / d.stem, max_steps=2, **QUICK).model for d in (pairs, sides)]
    assert largest_difference(*models) == 0.0


def test_a_loras_life(small_folder: Path, small_pairs: Path, tmp_path: Path) -> None:
    pytest.importorskip("peft")
    fresh = train(small_folder, small_pairs, "dpo()", tmp_path / "one", lora_r=2, max_steps=3, **QUICK)
    assert fresh.start.same and fresh.start.margin == 0.0
    assert (tmp_path / "one" / "adapter_model.safetensors").is_file()
    assert not (tmp_path / "one" / "model.safetensors").exists()
    # continuing: the reference is the adapter as it was, not the bare base
    more = train(tmp_path / "one", small_pairs, "dpo()", tmp_path / "two", max_steps=2, **QUICK)
    assert more.start.same and more.start.margin <= 1e-6
    bare = train(
        tmp_path / "one", small_pairs, "dpo()", tmp_path / "bare", reference=str(small_folder), max_steps=1, **QUICK
    )
    assert not bare.start.same and bare.start.margin > 1e-4
    merged = train(
        small_folder, small_pairs, "dpo()", tmp_path / "three", adapter=str(tmp_path / "one"), merge=True, max_steps=2,
        **QUICK,
    )  # fmt: skip
    assert (tmp_path / "three" / "model.safetensors").is_file()
    assert not (tmp_path / "three" / "adapter_config.json").exists()
    again = weights(tmp_path / "three")
    ids = torch.tensor([[1, 5, 26, 30]])
    torch.testing.assert_close(again(ids).logits, more.model(ids).logits, atol=1e-4, rtol=1e-4)
    assert merged.steps == 2


def test_live_cached_and_remembered_references_give_the_same_run(
    small_folder: Path, small_pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(name: str, how: str, **more: Any) -> Any:
        return train(
            small_folder, small_pairs, "dpo()", tmp_path / name, max_steps=3, reference_logp=how, **QUICK, **more
        )

    live = run("a", "live")
    for name, how, more in (("b", "memory", {}), ("c", "cached", {"cache_dir": tmp_path / "cache"})):
        once = run(name, how, **more)
        assert once.start.margin < 1e-4
        assert largest_difference(live.model, once.model) < 2e-4
    assert " 0 sequences in the cache" in capsys.readouterr().err
    again = run("d", "cached", cache_dir=tmp_path / "cache")
    assert ", 0 computed" in capsys.readouterr().err
    assert largest_difference(once.model, again.model) == 0.0


def test_an_objective_that_cannot_be_scored_is_refused_before_the_references_pass(
    small_folder: Path, small_pairs: Path, tmp_path: Path
) -> None:
    with pytest.raises(AssentError, match="needs token_column 'reward'; this scorer provides"):
        train(small_folder, small_pairs, "tgdpo()", tmp_path / "a", cache_dir=tmp_path / "cache", **QUICK)
    assert not (tmp_path / "cache").exists() and not (tmp_path / "a").exists()


def test_a_short_run_on_many_rows_reads_no_cache(
    small_folder: Path, small_pairs: Path, tmp_path: Path, monkeypatch: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ASSENT_CACHE", str(tmp_path / "cache"))
    train(small_folder, small_pairs, "dpo()", tmp_path / "a", max_steps=1, **QUICK)
    assert "the reference runs live: max_steps reaches less than half of the" in capsys.readouterr().err
    assert not (tmp_path / "cache").exists()


class Press(TrainerCallback):
    """Ctrl-C during a step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == self.step:
            os.kill(os.getpid(), signal.SIGINT)


def test_ctrl_c_saves_and_the_resumed_run_ends_where_the_straight_one_does(
    small_folder: Path, small_pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from assent.training import run

    arguments = QUICK | {"num_train_epochs": 2, "save_strategy": "epoch"}
    before = signal.getsignal(signal.SIGINT)  # a shell may have started the tests without one
    straight = train(small_folder, small_pairs, "lcpo(dpo())", tmp_path / "a", **arguments)
    build = run.build

    def pressed(*args: Any) -> Any:
        trainer, alarms = build(*args)
        trainer.add_callback(Press(3))
        return trainer, alarms

    monkeypatch.setattr(run, "build", pressed)
    with pytest.raises(KeyboardInterrupt, match=r"stopped at step 4; .* --resume to go on"):
        train(small_folder, small_pairs, "lcpo(dpo())", tmp_path / "b", **arguments)
    monkeypatch.setattr(run, "build", build)
    assert signal.getsignal(signal.SIGINT) is before
    assert [p.name for p in checkpoints(tmp_path / "b")] == ["checkpoint-4"]
    with pytest.raises(AssentError, match="not empty"):
        train(small_folder, small_pairs, "lcpo(dpo())", tmp_path / "b", **arguments)
    resumed = train(small_folder, small_pairs, "lcpo(dpo())", tmp_path / "b", resume=True, **arguments)
    assert largest_difference(straight.model, resumed.model) == 0.0
    assert straight.reliability == resumed.reliability and resumed.steps == 10
    again = train(small_folder, small_pairs, "lcpo(dpo())", tmp_path / "b", resume=True, **arguments)
    assert largest_difference(straight.model, again.model) == 0.0, "a finished run is not trained further"


def test_a_half_written_checkpoint_is_passed_over(small_folder: Path, small_pairs: Path, tmp_path: Path) -> None:
    arguments = QUICK | {"save_strategy": "steps", "save_steps": 2, "max_steps": 4}
    straight = train(small_folder, small_pairs, "dpo()", tmp_path / "a", **arguments)
    last = tmp_path / "a" / "checkpoint-4"
    (last / "trainer_state.json").write_text('{"global_step": 4, "log_hi')
    (last / "model.safetensors").write_bytes(b"half")
    resumed = train(small_folder, small_pairs, "dpo()", tmp_path / "a", resume=True, **arguments)
    assert largest_difference(straight.model, resumed.model) == 0.0


def test_a_full_disk_is_told_in_one_sentence_and_leaves_no_half_checkpoint(
    small_folder: Path, small_pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from assent.training.trainer import PreferenceTrainer

    def full(self: Any, output_dir: str) -> None:
        raise RuntimeError("[enforce fail at inline_container.cc:672] . PytorchStreamWriter failed writing file data/3")

    monkeypatch.setattr(PreferenceTrainer, "_save_optimizer_and_scheduler", full)
    with pytest.raises(AssentError, match=r"the disk of .* is full; free some space .* --resume"):
        train(small_folder, small_pairs, "dpo()", tmp_path / "o", max_steps=1, **QUICK | {"save_strategy": "epoch"})
    assert not list((tmp_path / "o").glob("checkpoint-*")) and not (tmp_path / "o" / "config.json").exists()


def test_an_audits_reliabilities_are_read_and_unknown_annotators_shown(
    small_folder: Path, small_pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    known = {"ann0": {"reliability": 0.95}, "ann2": {"reliability": 0.6}}
    (tmp_path / "audit").mkdir()
    (tmp_path / "audit" / "audit.json").write_text(json.dumps({"annotators": known, "noise_rate": 0.2}))
    text = f"lcpo(dpo(), reliability='audit:{tmp_path / 'audit'}')"
    found = train(small_folder, small_pairs, text, tmp_path / "out", max_steps=2, **QUICK)
    assert found.reliability == pytest.approx({"ann0": 0.95, "ann1": 0.8, "ann2": 0.6})
    assert "1 annotators are not in the audit and get its mean, 0.800: ann1" in capsys.readouterr().err


REFUSED = [
    ("simpo()", {"reference": "start"}, "reads no reference"),
    ("simpo()", {"reference_logp": "memory"}, "reads no reference"),
    ("dpo()", {"crossfit_scorer": "text"}, "is not cross-fitted"),
    ("dpo()", {"lora_alpha": 8}, "only with lora_r"),
    ("dpo()", {"merge": True}, "merge needs an adapter"),
    ("dpo()", {"learning_rat": 1e-3}, "did you mean 'learning_rate'"),
    ("dpo()", {"label_smoothing_factor": 0.1}, r"smooth\(OBJECTIVE, eps\)"),
    ("dpo()", {"eval_strategy": "steps"}, "eval_strategy is set and there is nothing to evaluate on"),
    ("dpo()", {"eval_steps": 5}, "eval_steps is set and there is nothing to evaluate on"),
    ("dpo()", {"eval_data": "x", "eval_fraction": 0.5}, "give one of them"),
    ("dpo()", {"eval_fraction": 1.5}, "between 0 and 1"),
    ("dpo()", {"max_length": 1}, "at least 2 tokens"),
    ("dpo()", {"train_sampling_strategy": "group_by_length"}, "'random' or 'sequential'|has no argument"),  # from 5.1
    ("dpo()", {"columns": ["prompt"]}, "old=new"),
    ("dpo()", {"reference": "nowhere/at/all"}, "nowhere/at/all"),
    ("weighted(dpo(), column='age')", {}, "age"),
    ("dop()", {}, "did you mean 'dpo'"),
]


@pytest.mark.parametrize(("objective", "arguments", "words"), REFUSED)
def test_what_would_not_be_read_or_cannot_be_done_is_refused(
    objective: str, arguments: dict[str, Any], words: str, small_folder: Path, small_pairs: Path, tmp_path: Path
) -> None:
    with pytest.raises(AssentError, match=words):
        train(small_folder, small_pairs, objective, tmp_path / "out", **QUICK | arguments)
    assert not (tmp_path / "out").exists(), "nothing is left behind"


def test_directories_that_cannot_be_written_and_kinds_that_do_not_fit(
    small_folder: Path, small_pairs: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(AssentError, match="cannot be written"):
        train(small_folder, small_pairs, "dpo()", tmp_path / "file" / "out", **QUICK)
    labelled = write_jsonl(tmp_path / "l.jsonl", [{"prompt": "a", "completion": " the cat", "label": True}] * 3)
    with pytest.raises(AssentError, match=r"holds labelled rows; dpo\(beta=0.1\) reads pairs rows"):
        train(small_folder, labelled, "dpo()", tmp_path / "out", **QUICK)
    long = write_jsonl(tmp_path / "long.jsonl", [{"prompt": "a", "chosen": " the" * 9, "rejected": " cat"}] * 3)
    with pytest.raises(AssentError, match="every row would be lost"):
        train(small_folder, long, "dpo()", tmp_path / "out", **QUICK | {"max_length": 8})


@pytest.mark.parametrize(
    ("steps", "warmup", "words"),
    [(1, 0.1, "nothing is trained"), (3, 3, "never reaches learning_rate"), (20, 0.1, ""), (1, 0, ""), (4, 3, "")],
)
def test_a_warmup_that_takes_up_the_run_is_told(steps: int, warmup: float, words: str, tmp_path: Path) -> None:
    from assent import parse
    from assent.training.arguments import resolve
    from assent.training.run import unmoved

    _, training = resolve({"max_steps": steps, "warmup_steps": warmup, "use_cpu": True}, parse("dpo()"), str(tmp_path))
    told = unmoved(training, 5)
    assert (words in told) if words else told == ""
