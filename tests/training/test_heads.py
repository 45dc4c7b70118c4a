"""Masks and heads beside the model: a group of their own, saved, resumed to the bit, alike on two ranks."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from small_run import (
    exact_model,
    largest_difference,
    pair_dicts,
    save_small_model,
    token_pairs,
    trainer_of,
    write_jsonl,
)
from small_run import with_views as viewed

from assent import AssentError, parse, train
from assent.objectives import RunInfo
from assent.scoring.heads import Heads, build
from assent.training.heads import FILE, HeadKeeper

SPARSE = "sparsepo(lam_u=0.01, lam_d=0.01)"


def _trainer(folder: Path, text: str = SPARSE, **arguments: object):
    model, objective = exact_model(), parse(text)
    return trainer_of(
        model, viewed(token_pairs(12), objective), objective, folder, per_device_train_batch_size=3, optim="sgd",
        learning_rate=0.1, lr_scheduler_type="constant", warmup_steps=0, **arguments,
    )  # fmt: skip


def test_heads_have_their_own_rate_and_decay(tmp_path: Path) -> None:
    trainer = _trainer(tmp_path, max_steps=1)
    trainer.args.head_learning_rate, trainer.args.head_weight_decay = 0.5, 0.25
    start = copy.deepcopy(trainer.heads.heads)
    trainer.run()
    group = trainer.optimizer.param_groups[-1] if hasattr(trainer.optimizer, "param_groups") else None
    assert (group["lr"], group["weight_decay"]) == (0.5, 0.25) and len(group["params"]) == 5
    # policy = reference at the first step: u = k = 0, and only the penalty moves a mask that is 1 on every token
    bias = trainer.heads.heads["mask"].bias
    before = start["mask"].bias
    assert (bias < before).all(), "the penalty makes masks smaller"


def test_a_resumed_run_has_the_heads_of_the_straight_one(tmp_path: Path) -> None:
    saving = {"save_strategy": "steps", "save_steps": 2, "max_steps": 4}
    straight = _trainer(tmp_path / "a", **saving)
    straight.run()
    again = _trainer(tmp_path / "a", **saving)
    again.run(tmp_path / "a" / "checkpoint-2")
    assert largest_difference(again.model, straight.model) == 0.0
    assert largest_difference(again.heads.heads, straight.heads.heads) == 0.0
    assert largest_difference(straight.heads.heads, build(straight.objective.needs, exact_model())) > 1e-4
    (tmp_path / "a" / "checkpoint-2" / FILE).unlink()
    with pytest.raises(AssentError, match="holds no heads"):
        _trainer(tmp_path / "a", **saving).run(tmp_path / "a" / "checkpoint-2")


def test_heads_grade_better_than_chance_after_some_steps(tmp_path: Path) -> None:
    trainer = _trainer(tmp_path, "dpo() + degree_reconstructed(levels=2)", max_steps=60)
    trainer.args.head_learning_rate = 1.0
    rows = viewed(token_pairs(12), trainer.objective)
    losses = []
    for when in ("before", "after"):
        if when == "after":
            trainer.run()
        with torch.no_grad():
            scores = trainer.scorer.scores(rows, trainer.objective.needs)
            degree = parse("degree_reconstructed(levels=2)")
            known = scores.views["chosen@degraded"].columns["degree_known"]
            losses.append((degree.ordered(scores, degree.init(RunInfo())).sum() / known.sum()).item())
    assert losses[0] == pytest.approx(0.6931471805599453, abs=1e-9), "heads start at 0"
    assert losses[1] < 0.5, losses


def test_a_sharded_model_and_a_head_that_nobody_makes_are_refused() -> None:
    with pytest.raises(AssentError, match="trains mask beside the model, which shards do not allow"):
        HeadKeeper(build(parse(SPARSE).needs, exact_model()), sharded=True)
    HeadKeeper(None, sharded=True)
    need = next(n for n in parse("degree_reconstructed()").needs if n.kind == "head")
    with pytest.raises(AssentError, match="no scorer makes the head 'judge'"):
        build({need._replace(name="judge")}, exact_model())


def test_a_rank_that_met_no_head_counts_as_zero() -> None:
    keeper = HeadKeeper(Heads({"degree_chosen": torch.nn.Linear(2, 2)}), sharded=False)
    keeper.after_backward(1)
    assert [p.grad.abs().sum().item() for p in keeper.parameters()] == [0.0, 0.0]
    keeper.before_step()
    assert all(p.grad is None for p in keeper.parameters())


def test_train_writes_the_masks_beside_an_ordinary_model(tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    model = save_small_model(tmp_path / "m")
    data = write_jsonl(tmp_path / "p.jsonl", pair_dicts(8))
    found = train(
        str(model), str(data), SPARSE, tmp_path / "out", max_steps=2, per_device_train_batch_size=4, use_cpu=True,
        disable_tqdm=True, learning_rate=1e-2, head_learning_rate=0.1, max_length=64, eval_fraction=0.25,
    )  # fmt: skip
    masks = load_file(str(tmp_path / "out" / FILE))
    assert masks["mask.weight"].shape == (2, 32) and found.steps == 2
    plain = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert largest_difference(plain, found.model) == 0.0
    assert "mask" not in json.dumps(sorted(plain.state_dict()))


@pytest.mark.parametrize(
    ("text", "arguments", "words"),
    [
        ("dpo()", {"head_learning_rate": 0.1}, "trains no mask or head"),
        (SPARSE, {"head_weight_decay": -1.0}, "head_weight_decay is -1.0; expected a finite number of at least 0"),
        (SPARSE, {"reference_logp": "cached"}, "learns a mask from the reference's hidden states"),
    ],
)
def test_options_that_nothing_reads_are_refused(text: str, arguments: dict, words: str, tmp_path: Path) -> None:
    model = save_small_model(tmp_path / "m")
    data = write_jsonl(tmp_path / "p.jsonl", pair_dicts(4))
    with pytest.raises(AssentError, match=words):
        train(str(model), str(data), text, tmp_path / "out", use_cpu=True, disable_tqdm=True, **arguments)


def test_fillers_carry_their_views() -> None:
    from assent.training.batches import Filler

    row = replace(token_pairs(1)[0], views={"rationale": "view"})
    assert Filler(row).views == {"rationale": "view"} and Filler(row).weight == 0.0
