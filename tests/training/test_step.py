"""One step over micro-batches and ranks: coupled objectives go scores first; two ranks equal one."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from small_run import exact_model, largest_difference, token_pairs, trainer_of
from toy_objectives import Toy

from assent.objectives import parse, step_loss
from assent.scoring.causal_lm import CausalLMScorer
from assent.training.batches import rows_only
from assent.training.gather import concatenate
from assent.training.step import denominators


@pytest.mark.parametrize("parts", [1, 3, 8])
def test_a_coupled_objective_gets_the_gradient_of_the_whole_step(parts: int, tmp_path: Path) -> None:
    rows, model = token_pairs(24), exact_model()
    size = 24 // parts
    trainer = trainer_of(
        model, rows, Toy() + 0.3 * parse("sft(per='batch_token')"), tmp_path, per_device_train_batch_size=size,
        gradient_accumulation_steps=parts, max_steps=1, max_grad_norm=0.0, optim="sgd",
    )  # fmt: skip
    trainer.train()
    oracle = exact_model()
    loss = step_loss(trainer.objective, CausalLMScorer(oracle).scores(rows))
    loss.backward()
    with torch.no_grad():
        for p in oracle.parameters():
            p -= 1e-2 * p.grad
    assert largest_difference(model, oracle) < 1e-13
    assert trainer.state.log_history[0]["loss"] == pytest.approx(loss.item(), rel=1e-6)
    scores = CausalLMScorer(exact_model()).scores(rows)
    d = (scores.weight * (scores.chosen.logp - scores.rejected.logp)).sum() / scores.weight.sum()
    assert trainer.objective_state["0.mean"].item() == pytest.approx(0.5 * d.item(), rel=1e-12)


def test_naive_micro_batches_of_a_coupled_objective_would_be_wrong() -> None:
    rows, scorer = token_pairs(8), CausalLMScorer(exact_model())
    whole = step_loss(Toy(), scorer.scores(rows)).item()
    halves = [step_loss(Toy(), scorer.scores(rows[i : i + 4])).item() for i in (0, 4)]
    assert abs(sum(halves) / 2 - whole) > 1e-3


def test_evaluation_of_a_coupled_objective_is_that_of_all_rows(tmp_path: Path) -> None:
    rows, model = token_pairs(7), exact_model()
    trainer = trainer_of(model, rows, Toy(), tmp_path, eval_rows=rows, per_device_eval_batch_size=3, max_steps=1)
    expected = step_loss(Toy(), CausalLMScorer(model).scores(rows)).item()
    assert trainer.evaluate()["eval_loss"] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("text", ["dpo()", "lcpo(dpo())", "simpo() + 0.1*sft(per='batch_token')"])
def test_denominators_come_from_the_rows_alone(text: str) -> None:
    rows, objective = token_pairs(6), parse(text)
    scores = CausalLMScorer(exact_model()).scores(rows)
    expected = [t.objective.counts(scores).sum().item() for t in objective.terms()]
    assert denominators(objective, rows_only(rows)).tolist() == pytest.approx(expected, rel=1e-14)


def test_concatenated_scores_are_those_of_the_whole() -> None:
    rows, scorer = token_pairs(9), CausalLMScorer(exact_model())
    with torch.no_grad():
        whole = scorer.scores(rows)
        parts = concatenate([scorer.scores(rows[i : i + 3]) for i in (0, 3, 6)])
    torch.testing.assert_close(parts.chosen.logp, whole.chosen.logp)
    torch.testing.assert_close(parts.chosen.tokens.logp, whole.chosen.tokens.logp)
    for name in ("row", "index"):
        assert torch.equal(getattr(parts.rejected.tokens, name), getattr(whole.rejected.tokens, name))
    assert torch.equal(parts.labels.pair, whole.labels.pair) and torch.equal(parts.labels.gold, whole.labels.gold)


def ranks(folder: Path, count: int, text: str, rows: int) -> list[dict]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    script = Path(__file__).with_name("two_ranks.py")
    folder.mkdir()
    started = [
        subprocess.Popen(
            [sys.executable, str(script), str(rank), str(count), str(port), str(folder), text, str(rows)],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )
        for rank in range(count)
    ]  # fmt: skip
    for process in started:
        _, err = process.communicate(timeout=300)
        assert process.returncode == 0, err.decode()[-2000:]
    return [json.loads((folder / f"rank-{rank}.json").read_text()) for rank in range(count)]


@pytest.mark.slow
@pytest.mark.parametrize("text", ["lcpo(dpo()) + 0.1*sft(per='batch_token')", "toy_coupled()"])
def test_two_ranks_equal_one(text: str, tmp_path: Path) -> None:
    (one,) = ranks(tmp_path / "one", 1, text, 21)  # 21 rows: the last step holds 5, one filler
    first, second = ranks(tmp_path / "two", 2, text, 21)
    for a, b, c in zip(one["parameters"], first["parameters"], second["parameters"], strict=True):
        assert b == c
        assert max(abs(x - y) for x, y in zip(a, b, strict=True)) < 1e-10
    assert sorted(first["seen"] + second["seen"]) == sorted(one["seen"]) == sorted([*range(21), *range(21)])
    assert first["state"] == second["state"]
    for name, value in one["state"].items():
        torch.testing.assert_close(torch.tensor(value), torch.tensor(first["state"][name]), rtol=1e-11, atol=1e-12)
    for a, b in zip(one["logs"], first["logs"], strict=True):
        for name in ("rewards/margins", "logps/chosen") if "lcpo" in text else ():
            assert a[name] == pytest.approx(b[name], rel=1e-9, abs=1e-11)
        assert a["loss"] == pytest.approx(b["loss"], rel=1e-5)
    assert one["eval"]["eval_loss"] == pytest.approx(first["eval"]["eval_loss"], rel=1e-9)
