"""One step over micro-batches and ranks: coupled objectives go scores first; two ranks equal one."""

from __future__ import annotations

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
