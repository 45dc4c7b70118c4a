"""A run's looks at itself: what they say, when, that they change nothing and that resuming neither forgets nor repeats."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from small_run import largest_difference, pair_dicts, write_jsonl

from assent import AssentError, train
from assent.training.diagnosing import Diagnosing
from assent.training.line_file import LineFile

QUICK: dict[str, Any] = {
    "use_cpu": True, "learning_rate": 3e-3, "max_length": 64, "disable_tqdm": True, "logging_steps": 50,
    "save_strategy": "no", "reference_logp": "memory",
}  # fmt: skip
BARE = {k: v for k, v in QUICK.items() if k != "reference_logp"}


def lines(folder: Path, name: str = "diagnostics.jsonl") -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / name).read_text().split("\n") if line]


def looks_of(found: Any) -> Diagnosing:
    return next(c for c in found.trainer.callback_handler.callbacks if isinstance(c, Diagnosing))


def test_the_last_look_says_what_the_model_that_is_saved_does(
    small_folder: Path, small_pairs: Path, tmp_path: Path
) -> None:
    found = train(
        small_folder, small_pairs, "lcpo(dpo())", tmp_path / "out", eval_fraction=0.2, num_train_epochs=2, **QUICK
    )
    told = lines(tmp_path / "out")
    assert [(line["step"], line["split"]) for line in told] == [
        (s, h) for s in (0, 4, 8) for h in ("held_out", "train")
    ]
    assert all(line["schema"] == 1 for line in told)
    start, last = told[0]["values"], told[-2]["values"]
    assert start["reward/accuracy"] == 0.5 and start["start/margin"] == 0.0 and start["calibration/brier"] == 0.25
    assert "start/margin" not in last and last["repeated/prompts"] == 0.0
    rows = looks_of(found).probes["held_out"]
    with torch.no_grad():
        scores = found.trainer.scorer.on(found.model).scores(rows, found.objective.needs)
    gap = 0.1 * scores.log_ratio_gap
    assert last["reward/margin"] == pytest.approx(gap.mean().item(), abs=1e-6)
    assert last["reward/accuracy"] == pytest.approx((gap > 0).float().mean().item())
    change = scores.chosen.log_ratio / scores.chosen.length
    assert last["displacement/chosen"] == pytest.approx(change.mean().item(), abs=1e-6)
    assert told[-2]["tables"]["probe"]["pair"] == [row.index for row in rows]
    assert {b["bucket"] for b in told[-1]["tables"]["buckets"]["annotator"]} <= {"ann0", "ann1", "ann2"}
    assert last["reliability/mean"] == pytest.approx(sum(found.reliability.values()) / 3, abs=1e-9)
    assert {"entanglement/cosine", "entanglement/share_both_down"} <= told[-1]["values"].keys()


def test_completions_before_and_after_are_the_models_own(small_folder: Path, small_pairs: Path, tmp_path: Path) -> None:
    found = train(
        small_folder,
        small_pairs,
        "simpo()",
        tmp_path / "out",
        sample_prompts=2,
        diagnostics_steps=3,
        max_steps=5,
        **BARE,
    )
    told = lines(tmp_path / "out", "samples.jsonl")
    assert [line["step"] for line in told] == [0, 0, 3, 3, 5, 5]
    assert told[0]["prompt"] == told[2]["prompt"] == told[4]["prompt"] != told[1]["prompt"]
    assert {line["step"] for line in lines(tmp_path / "out")} == {0, 3, 5}
    greedy = looks_of(found).greedy
    ids = torch.tensor(greedy.prompts[0][None].astype("int64"))
    made = found.model.generate(
        ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=32, pad_token_id=0
    )[0, ids.shape[1] :]
    text = found.tokenizer.decode([i for i in made.tolist() if i != 2], skip_special_tokens=True)
    assert told[4]["completion"] == text and told[4]["cut"] == (2 not in made.tolist())
    with torch.no_grad():
        logits = found.model(torch.cat([ids[0], made])[None]).logits[0, ids.shape[1] - 1 : -1]
    nll = torch.nn.functional.cross_entropy(logits, made).item()
    assert told[4]["nll"] == pytest.approx(nll, rel=1e-4)


def test_looking_changes_nothing(small_folder: Path, small_pairs: Path, tmp_path: Path) -> None:
    seen = train(small_folder, small_pairs, "dpo()", tmp_path / "a", max_steps=3, diagnostics_steps=1, **QUICK)
    blind = train(small_folder, small_pairs, "dpo()", tmp_path / "b", max_steps=3, diagnostics_steps=0, **QUICK)
    assert largest_difference(seen.model, blind.model) == 0.0
    assert not (tmp_path / "b" / "diagnostics.jsonl").exists() and not (tmp_path / "b" / "samples.jsonl").exists()


def test_a_resumed_run_writes_the_same_lines(small_folder: Path, small_pairs: Path, tmp_path: Path) -> None:
    from transformers import TrainerCallback

    from assent.training import diagnosing

    class Stop(TrainerCallback):
        def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if state.global_step == 3:
                self.trainer.interrupt.asked = True

    how = {**BARE, "num_train_epochs": 1, "diagnostics_steps": 2, "save_strategy": "steps", "save_steps": 1}
    train(small_folder, small_pairs, "simpo(beta=10.0)", tmp_path / "whole", **how)
    original = diagnosing.Diagnosing._choose

    def choose(self: Any, args: Any) -> None:
        stop = Stop()
        stop.trainer = self.trainer
        self.trainer.add_callback(stop)
        original(self, args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(diagnosing.Diagnosing, "_choose", choose)
        with pytest.raises(KeyboardInterrupt):
            train(small_folder, small_pairs, "simpo(beta=10.0)", tmp_path / "cut", **how)
    assert {line["step"] for line in lines(tmp_path / "cut")} == {0, 2, 4}
    with (tmp_path / "cut" / "diagnostics.jsonl").open("a") as file:
        file.write('{"schema": 1, "step": 5, "split": "train", "val')  # killed while it wrote
    train(small_folder, small_pairs, "simpo(beta=10.0)", tmp_path / "cut", resume=True, **how)
    for name in ("diagnostics.jsonl", "samples.jsonl"):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name


@pytest.mark.parametrize(("objective", "kind"), [("sft()", "rows"), ("kto()", "rows"), ("bradley_terry()", "pairs")])
def test_other_rows_and_reward_models_tell_what_they_can(
    objective: str, kind: str, small_folder: Path, small_pairs: Path, tmp_path: Path
) -> None:
    train(small_folder, small_pairs, objective, tmp_path / "out", max_steps=1, **BARE)
    values = lines(tmp_path / "out")[-1]["values"]
    assert values[kind] == 8 and "ranking/accuracy" not in values
    assert ("samples/nll" in values) == (objective != "bradley_terry()")
    assert ("reward/accuracy" in values) == (objective == "bradley_terry()")


def test_groups_tell_whether_their_whole_order_is_right(small_folder: Path, tmp_path: Path) -> None:
    rows = [
        {"prompt": row["prompt"], "completions": [row["chosen"], row["rejected"], " bird"], "scores": [2.0, 1.0, 0.0]}
        for row in pair_dicts(16)
    ]
    data = write_jsonl(tmp_path / "groups.jsonl", rows)
    found = train(small_folder, data, "plackett_luce()", tmp_path / "out", max_steps=1, **QUICK)
    values = lines(tmp_path / "out")[-1]["values"]
    probe = looks_of(found).probes["train"]
    with torch.no_grad():
        side = found.trainer.scorer.on(found.model).scores(probe, found.objective.needs).completions
    first, second, third = side.logp.reshape(-1, 3).T
    assert values["rows"] == 8
    assert values["ranking/exact_order"] == pytest.approx(
        ((first >= second) & (second >= third)).double().mean().item()
    )


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"diagnostics_steps": -1}, "diagnostics_steps is -1; expected a whole number"),
        ({"diagnostics_steps": 0, "sample_prompts": 2}, "diagnostics_steps=0 never looks"),
        ({"objective": "bradley_terry()", "sample_prompts": 2}, "a reward model completes nothing"),
    ],
)
def test_options_that_nobody_would_read_are_refused(
    more: dict[str, Any], words: str, small_folder: Path, small_pairs: Path, tmp_path: Path
) -> None:
    objective = more.pop("objective", "simpo()")
    with pytest.raises(AssentError, match=words):
        train(small_folder, small_pairs, objective, tmp_path / "out", **BARE, **more)


def test_lines_after_the_checkpoint_and_torn_ones_go(tmp_path: Path) -> None:
    file = LineFile(tmp_path / "a.jsonl")
    for step in (0, 2, 4):
        file.add({"step": step, "value": float("nan")}, write=True)
    with file.path.open("a") as handle:
        handle.write('{"step": 3, "va')
    again = LineFile(file.path)
    again.keep(2, write=True)
    assert again.lines == [{"step": 0, "value": None}, {"step": 2, "value": None}]
    assert lines(tmp_path, "a.jsonl") == again.lines
    for step in (3, 4):
        again.add({"step": step, "value": "one\u2028line"}, write=True)
    assert [line["step"] for line in again.lines] == [0, 4]  # the first and the last
    last = LineFile(file.path)
    last.keep(9, write=True)
    assert last.lines == again.lines
    assert [line["step"] for line in lines(tmp_path, "a.jsonl")] == [0, 2, 3, 4]


# ---- alarms that read the looks ----------------------------------------------------------------------------


def alarms(folder: Path) -> list[str]:
    path = folder / "alarms.json"
    return [a["name"] for a in json.loads(path.read_text())["alarms"]] if path.is_file() else []


def test_a_healthy_run_fires_none(small_folder: Path, tmp_path: Path) -> None:
    data = write_jsonl(tmp_path / "pairs.jsonl", pair_dicts(240, annotators=3))
    found = train(
        small_folder, data, "lcpo(dpo())", tmp_path / "out", eval_fraction=0.25, logging_steps=5,
        **{k: v for k, v in QUICK.items() if k != "logging_steps"},
    )  # fmt: skip
    assert alarms(tmp_path / "out") == [] and found.evaluation["eval_rewards/accuracies"] > 0.7


def test_repeated_prompts_and_pairs_of_one_text_are_told(small_folder: Path, tmp_path: Path) -> None:
    rows = pair_dicts(40)
    for row in rows[::5]:
        row["chosen"], row["rejected"] = " zebra well", " yak well"  # the tokenizer knows neither
    fresh = pair_dicts(8, seed=9)
    data = write_jsonl(tmp_path / "pairs.jsonl", rows)
    held = write_jsonl(tmp_path / "held.jsonl", [*fresh, {**rows[1], "chosen": " well"}])
    train(small_folder, data, "dpo()", tmp_path / "out", eval_data=str(held), max_steps=1, **QUICK)
    told = lines(tmp_path / "out")[0]["values"]
    assert told["repeated/prompts"] >= 1 / 9
    assert set(alarms(tmp_path / "out")) == {"repeated", "dead"}


def test_a_reference_of_other_weights_is_told(
    small_folder: Path, small_pairs: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    from assent.training import policy

    def shifted(*args: Any) -> Any:
        table = original(*args)
        table.values.mul_(1.05)
        return table

    original = policy.in_memory
    monkeypatch.setattr(policy, "in_memory", shifted)
    train(small_folder, small_pairs, "dpo()", tmp_path / "out", max_steps=1, **QUICK)
    values = lines(tmp_path / "out")[0]["values"]
    assert alarms(tmp_path / "out") == ["mismatch"] and values["start/margin"] > 0.05
