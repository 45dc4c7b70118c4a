"""The trainer: splits change nothing, against a hand-written loop, exact resuming, one state update a step."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from small_run import exact_model, largest_difference, small_model, token_pairs, trainer_of, with_views

from assent.data.tokens import TokenExample, TokenGroup
from assent.errors import AssentError
from assent.objectives import Objective, objectives, parse, step_loss
from assent.reporting.objective_facts import example
from assent.robust.lcpo import LCPO

COLUMNS = {"margin": 0.5, "score_chosen": 0.75, "score_rejected": 0.25}
PROVIDED = {
    "reference", "length", "tokens", "entropy", "sum_sq", "kl_ref", "moving_reference", "view", "head", "mask",
    "token_column",
}  # fmt: skip


def _plain(name: str) -> bool:
    """Whether rows of tokens, two language models and what a scorer makes of them are all that an objective needs."""
    needs = example(name).needs
    return all(n.kind in PROVIDED or (n.kind == "column" and n.name in {*COLUMNS, "confidence"}) for n in needs)


INSTEAD = {"beta_dpo": "beta_dpo(drop=0.0)", "retain_kl": "npo() + retain_kl()"}
"""At the start all gaps and divergences are rounding, by which the one draws and the other would move."""

EXPRESSIONS = [
    *(INSTEAD.get(name, str(example(name))) for name in objectives() if _plain(name)),
    "lcpo(simpo(), pool=False) + 0.1*sft(per='batch_token')",
    "lcpo(cpo(alpha=0.1), reading='mixture', rate=0.5)",
]
MOVED = {"mask_l1": -1.0, "difficulty_filter": 0.0}
"""Objectives that need not move these weights at all: one trains its mask alone, the rows of the other are not here."""


def rows_for(objective: Objective) -> list:
    """Twenty rows of the kind that an objective reads, with every column that one may ask for."""
    pairs = [replace(row, columns=row.columns | COLUMNS) for row in token_pairs(20)]
    pairs = with_views(pairs, objective)
    if objective.data == "labelled":
        return [TokenExample(r.chosen, r.weight, i % 2 == 0, i, r.columns) for i, r in enumerate(pairs)]
    if objective.data == "groups":
        scores = (0.9, 0.2, 0.4)
        third = [*pairs[1:], pairs[0]]
        return [
            TokenGroup((r.chosen, r.rejected, t.chosen), scores, r.weight, i)
            for i, (r, t) in enumerate(zip(pairs, third, strict=True))
        ]
    return pairs


def run(text: str | Objective, folder: Path, size: int, parts: int, seed: int = 0, **arguments):
    model = exact_model(seed)
    objective = parse(text) if isinstance(text, str) else text
    trainer = trainer_of(
        model, rows_for(objective), objective, folder, per_device_train_batch_size=size,
        gradient_accumulation_steps=parts, **({"max_steps": 3} | arguments),
    )  # fmt: skip
    trainer.train()
    return model, trainer


@pytest.mark.parametrize("text", EXPRESSIONS)
def test_one_batch_of_eight_equals_eight_of_one(text: str, tmp_path: Path) -> None:
    whole, first = run(text, tmp_path / "a", 8, 1)
    parts, second = run(text, tmp_path / "b", 1, 8)
    untouched = exact_model()
    assert largest_difference(whole, parts) < 1e-10
    assert largest_difference(whole, untouched) > MOVED.get(text.split("(")[0], 1e-3)
    for name, value in first.objective_state.items():
        torch.testing.assert_close(value, second.objective_state[name], rtol=0, atol=1e-12)
    for a, b in zip(first.state.log_history, second.state.log_history, strict=True):
        same = {k for k in a if "runtime" not in k and "second" not in k and "loss" not in k and k != "total_flos"}
        if a.get("step") == 1:
            same -= {"rewards/accuracies"}  # all margins are 0 to rounding
        wrong = {k: (a[k], b[k]) for k in same if not math.isclose(a[k], b[k], rel_tol=1e-9, abs_tol=1e-12)}
        assert not wrong


def test_five_adamw_steps_of_dpo_equal_a_loop_written_by_hand(tmp_path: Path) -> None:
    rows = token_pairs(20)
    model, trainer = run("dpo(beta=0.3)", tmp_path, 2, 2, max_steps=5, max_grad_norm=0.5, weight_decay=0.1)
    oracle, fixed = exact_model(), exact_model()
    decayed = [p for n, p in oracle.named_parameters() if "ln_" not in n and "bias" not in n]
    rest = [p for n, p in oracle.named_parameters() if "ln_" in n or "bias" in n]
    groups = [{"params": decayed, "weight_decay": 0.1}, {"params": rest, "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, lr=1e-2, betas=(0.9, 0.999), eps=1e-8)

    def logp(lm, one):  # one sequence at a time, no padding
        ids = torch.tensor(one.ids, dtype=torch.long)
        table = lm(input_ids=ids[None]).logits[0].log_softmax(-1)
        return sum(table[t - 1, ids[t]] for t in range(one.prompt_length, len(ids)))

    order = trainer.step_sampler().order()
    for step in range(5):
        batch = [rows[i] for i in order[4 * step : 4 * step + 4]]
        top = bottom = 0.0
        for row in batch:
            with torch.no_grad():
                base = logp(fixed, row.chosen) - logp(fixed, row.rejected)
            h = 0.3 * (logp(oracle, row.chosen) - logp(oracle, row.rejected) - base)
            mixed = row.target * torch.log1p(torch.exp(-h)) + (1 - row.target) * torch.log1p(torch.exp(h))
            top, bottom = top + row.weight * mixed, bottom + row.weight
        (top / bottom).backward()
        torch.nn.utils.clip_grad_norm_(oracle.parameters(), 0.5)
        for group in optimiser.param_groups:
            group["lr"] = 1e-2 * (1 - step / 5)
        optimiser.step()
        optimiser.zero_grad()
    assert largest_difference(model, oracle) < 1e-9


def test_a_weight_equals_repeated_rows(tmp_path: Path) -> None:
    from dataclasses import replace

    rows = [
        replace(r, weight=1.0 + i % 3, labels=((0, 1.0, 1.0 + i % 3, False),)) for i, r in enumerate(token_pairs(6))
    ]
    single = [replace(r, weight=1.0, labels=((0, 1.0, 1.0, False),)) for r in rows]
    repeated = [one for row, one in zip(rows, single, strict=True) for _ in range(int(row.weight))]
    models = []
    for number, some in enumerate((rows, repeated)):
        model = exact_model()
        trainer = trainer_of(
            model, some, parse("simpo() + 0.1*sft(per='batch_token')"), tmp_path / str(number),
            per_device_train_batch_size=len(some), max_steps=3,
        )  # fmt: skip
        trainer.train()
        models.append(model)
    assert largest_difference(*models) < 1e-10


def saved(folder: Path, resume: Path | None = None, stop_at: int | None = None):
    from transformers import TrainerCallback

    class Stop(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            control.should_training_stop = state.global_step == stop_at or control.should_training_stop

    model = small_model(0)
    model.config.attention_dropout = 0.3  # so that the random states matter
    trainer = trainer_of(
        model, token_pairs(20), parse("lcpo(dpo(), rate=0.4)"), folder, per_device_train_batch_size=2,
        gradient_accumulation_steps=2, max_steps=8, save_strategy="steps", save_steps=1, lr_scheduler_type="cosine",
    )  # fmt: skip
    trainer.add_callback(Stop())
    trainer.run(resume)
    return model, trainer


@pytest.mark.parametrize(
    "step", [3, 5, pytest.param(6, marks=pytest.mark.slow)]
)  # within, at the end of, and after the first epoch
def test_resuming_is_exact_to_the_bit(step: int, tmp_path: Path) -> None:
    straight, whole = saved(tmp_path / "straight")
    saved(tmp_path / "broken", stop_at=step)
    resumed, later = saved(tmp_path / "broken", tmp_path / "broken" / f"checkpoint-{step}")
    assert later.state.global_step == 8
    for a, b in zip(straight.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(a, b)
    assert torch.equal(whole.objective_state["eta"], later.objective_state["eta"])
    assert not torch.equal(whole.objective_state["eta"], torch.full((3,), 0.9, dtype=torch.float64))
    told = [[h["logps/chosen"] for h in t.state.log_history if "logps/chosen" in h][:8] for t in (whole, later)]
    assert told[0] == told[1]


def test_the_state_moves_once_a_step_by_the_sums_of_the_whole_step(tmp_path: Path) -> None:
    rows, objective = token_pairs(8), parse("lcpo(dpo(), start=0.8, rate=0.25)")
    model = exact_model()
    trainer = trainer_of(
        model, rows, objective, tmp_path, per_device_train_batch_size=3, gradient_accumulation_steps=3, max_steps=1
    )
    trainer.train()
    # at policy = reference s = 0: the posterior rests on the labels alone
    right, count = torch.zeros(3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64)
    for row in rows:
        logit = sum(math.log(0.8 * p + 0.2 * (1 - p)) - math.log(0.8 * (1 - p) + 0.2 * p) for _, p, _, _ in row.labels)
        w = 1 / (1 + math.exp(-logit))
        for who, p, weight, _ in row.labels:
            stored = 0.8 * p / (0.8 * p + 0.2 * (1 - p))
            swapped = 0.8 * (1 - p) / (0.8 * (1 - p) + 0.2 * p)
            right[who] += weight * (w * stored + (1 - w) * swapped)
            count[who] += weight
    torch.testing.assert_close(trainer.objective_state["eta"], 0.75 * 0.8 + 0.25 * right / count, rtol=0, atol=1e-12)


def test_a_skipped_optimiser_step_and_an_evaluation_leave_the_state_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = token_pairs(12)
    trainer = trainer_of(
        exact_model(), rows, parse("lcpo(dpo())"), tmp_path, per_device_train_batch_size=4, max_steps=2,
        eval_rows=rows[:5],
    )  # fmt: skip
    trainer.evaluate()
    assert torch.equal(trainer.objective_state["eta"], torch.full((3,), 0.9, dtype=torch.float64))
    monkeypatch.setattr(type(trainer.accelerator), "optimizer_step_was_skipped", property(lambda self: True))
    trainer.train()
    assert torch.equal(trainer.objective_state["eta"], torch.full((3,), 0.9, dtype=torch.float64))


@pytest.mark.parametrize("text", ["dpo()", "lcpo(simpo()) + 0.5*sft(per='batch_token')"])
def test_evaluation_reduces_all_held_out_rows_as_one_step(text: str, tmp_path: Path) -> None:
    rows, model = token_pairs(11, seed=1), exact_model()
    trainer = trainer_of(
        model, token_pairs(4), parse(text), tmp_path, eval_rows=rows, per_device_eval_batch_size=4, max_steps=1
    )
    found = trainer.evaluate()
    with torch.no_grad():
        scores = trainer.scorer.scores(rows)
        expected = step_loss(parse(text), scores, trainer.objective_state).item()
    weight = scores.weight
    assert found["eval_loss"] == pytest.approx(expected, rel=1e-12)
    assert found["eval_logps/chosen"] == pytest.approx(
        ((weight * scores.chosen.logp).sum() / weight.sum()).item(), rel=1e-12
    )
    assert found["eval_rewards/accuracies"] == pytest.approx(
        0.5 if text == "dpo()" else found["eval_rewards/accuracies"]
    )


def test_metrics_have_trls_names_and_add_up(tmp_path: Path) -> None:
    _, trainer = run("lcpo(dpo())", tmp_path, 4, 2)
    logs = [h for h in trainer.state.log_history if "loss" in h]
    names = {"rewards/chosen", "rewards/rejected", "rewards/margins", "rewards/accuracies", "logps/chosen",
             "logps/rejected", "lcpo/noise_rate", "lcpo/reliability/anna", "lcpo/reliability/ben"}  # fmt: skip
    assert len(logs) == 3 and names <= logs[0].keys()
    assert logs[0]["loss"] == pytest.approx(math.log(2), abs=1e-6)
    for log in logs:
        assert log["rewards/margins"] == pytest.approx(log["rewards/chosen"] - log["rewards/rejected"], abs=1e-12)


def test_a_loss_that_is_not_finite_stops_before_the_parameters_move(tmp_path: Path) -> None:
    model = small_model(0)
    with torch.no_grad():
        model.lm_head.weight[5] = float("nan")
    before = [p.clone() for p in model.parameters()]
    trainer = trainer_of(model, token_pairs(8), parse("simpo()"), tmp_path, max_steps=2)
    with pytest.raises(AssentError, match="loss of step 1 is not finite"):
        trainer.train()
    assert all(torch.equal(a.nan_to_num(), b.nan_to_num()) for a, b in zip(before, model.parameters(), strict=True))


def test_many_annotators_are_logged_as_quantiles(tmp_path: Path) -> None:
    names = tuple(f"a{i}" for i in range(30))
    trainer = trainer_of(
        small_model(0), token_pairs(8, annotators=30), parse("lcpo(dpo())"), tmp_path, annotators=names, max_steps=1
    )
    trainer.train()
    log = trainer.state.log_history[0]
    shown = sorted(k for k in log if k.startswith("lcpo/reliability"))
    assert shown == [f"lcpo/reliability/q{q:03d}" for q in (0, 10, 50, 90, 100)]
    assert log["lcpo/reliability/q050"] == pytest.approx(trainer.objective_state["eta"].median().item(), abs=0.02)


def test_a_checkpoint_of_another_objective_is_refused_and_new_annotators_start_afresh(tmp_path: Path) -> None:
    _, trainer = saved(tmp_path)
    folder = tmp_path / "checkpoint-8"
    other = trainer_of(small_model(0), token_pairs(8), parse("lcpo(ipo())"), tmp_path / "x")
    with pytest.raises(AssentError, match="resume with the same objective"):
        other.restore(folder)
    names = ("anna", "ben", "cleo", "dora")
    wider = trainer_of(small_model(0), token_pairs(8), parse("lcpo(dpo(), rate=0.4)"), tmp_path / "y", annotators=names)
    wider.restore(folder)
    assert torch.equal(wider.objective_state["eta"][:3], trainer.objective_state["eta"])
    assert wider.objective_state["eta"][3].item() == 0.9
    assert isinstance(wider.objective, LCPO)


def test_a_state_that_only_counts_steps_moves_once_a_step(tmp_path: Path) -> None:
    model = exact_model()
    objective = parse("difficulty_curriculum(dpo())")
    trainer = trainer_of(model, token_pairs(12), objective, tmp_path, per_device_train_batch_size=4, max_steps=3)
    trainer.run()
    assert int(trainer.objective_state["step"]) == 3
    trainer.evaluate(token_pairs(4))
    trainer.update_state()
    assert int(trainer.objective_state["step"]) == 3
