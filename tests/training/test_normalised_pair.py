"""The normalised pair gradient by hand, and what it promises."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import torch
from small_run import (
    exact_model,
    largest_difference,
    pair_dicts,
    save_small_model,
    token_pairs,
    trainer_of,
    write_jsonl,
)

from assent import AssentError, parse, train
from assent.scoring.causal_lm import CausalLMScorer
from assent.scoring.reference import SecondModel
from assent.training.normalised_pair import norm, normalised_pair

F64 = torch.float64


def test_golden_values() -> None:
    # g_w = (3, 4 | 0), g_l = (0, 0 | 2): lengths 5 and 2; descending takes -(g_w / 5 - g_l / 2)
    chosen = [torch.tensor([3.0, 4.0], dtype=F64), None]
    rejected = [torch.tensor([0.0, 0.0], dtype=F64), torch.tensor([2.0], dtype=F64)]
    first, second = normalised_pair(chosen, rejected)
    assert first.tolist() == pytest.approx([-0.6, -0.8], abs=1e-12) and second.tolist() == pytest.approx(
        [1.0], abs=1e-12
    )
    assert norm(chosen).item() == 5.0 and norm([None]).item() == 0.0


def test_sides_without_gradient_add_nothing() -> None:
    found = normalised_pair([torch.tensor([0.0]), None, None], [None, torch.tensor([4.0]), None])
    assert found[0].tolist() == [0.0] and found[1].tolist() == [1.0] and found[2] is None


def test_the_chosen_side_never_falls_and_the_rejected_one_never_rises() -> None:
    generator = torch.Generator().manual_seed(0)
    for _ in range(300):
        g = torch.randn(4, generator=generator, dtype=F64)
        h = (0.95 * g + 0.3 * torch.randn(4, generator=generator, dtype=F64)) * 3
        (descent,) = normalised_pair([g], [h])
        cosine = (g @ h / g.norm() / h.norm()).item()
        assert (-descent @ g).item() == pytest.approx(g.norm().item() * (1 - cosine), abs=1e-10)
        assert (-descent @ h).item() == pytest.approx(-h.norm().item() * (1 - cosine), abs=1e-10)


def test_half_precision_keeps_its_kind() -> None:
    (found,) = normalised_pair([torch.tensor([3.0, 4.0], dtype=torch.bfloat16)], [None])
    assert found.dtype == torch.bfloat16 and found.float().tolist() == pytest.approx([-0.6, -0.8], abs=4e-3)


def _step(folder: Path, size: int, parts: int, text: str = "dpo(beta=0.5)", **arguments: object):
    model = exact_model()
    trainer = trainer_of(
        model, token_pairs(8), parse(text), folder, per_device_train_batch_size=size, gradient_accumulation_steps=parts,
        max_steps=1, optim="sgd", learning_rate=1.0, lr_scheduler_type="constant", warmup_steps=0, max_grad_norm=0.0,
        **arguments,
    )  # fmt: skip
    trainer.args.update = "normalised_pair"
    trainer.train()
    return model, trainer


def test_a_step_of_the_trainer_is_that_of_two_gradients_by_hand(tmp_path: Path) -> None:
    moved, trainer = _step(tmp_path / "a", 8, 1)
    start = exact_model()
    rows = [trainer.train_dataset.rows[i] for i in trainer.step_sampler().order()]
    scores = CausalLMScorer(start, SecondModel(exact_model())).scores(rows)
    # at the start sigmoid is 1/2: weights of row i are -beta/2 and beta/2 times 2 target - 1
    weights = scores.weight * (2 * scores.target - 1)
    parameters = list(start.parameters())
    sides = [
        torch.autograd.grad((weights * side.logp).sum(), parameters, retain_graph=True)
        for side in (scores.chosen, scores.rejected)
    ]
    for before, after, update in zip(parameters, moved.parameters(), normalised_pair(*sides), strict=True):
        torch.testing.assert_close(after, before - update, rtol=0, atol=1e-9)


@pytest.mark.parametrize("text", ["dpo(beta=0.5)", "aot(beta=0.5) + 0.1*sft()"])
def test_splits_change_nothing(text: str, tmp_path: Path) -> None:
    whole, parts = (_step(tmp_path / str(size), size, 8 // size, text)[0] for size in (8, 1))
    assert largest_difference(whole, parts) < 1e-10 and largest_difference(whole, exact_model()) > 1e-3


def test_it_is_refused_where_there_are_no_two_sides(tmp_path: Path) -> None:
    model = save_small_model(tmp_path / "m")
    data = write_jsonl(tmp_path / "p.jsonl", pair_dicts(4))
    ask = partial(train, str(model), str(data), use_cpu=True, disable_tqdm=True, update="normalised_pair")
    with pytest.raises(AssentError, match=r"needs a chosen and a rejected side alone, and kto.* reads labelled rows"):
        ask("kto()", tmp_path / "o")
    with pytest.raises(AssentError, match="reads view"):
        ask("srpo()", tmp_path / "o")
    with pytest.raises(AssentError, match="update is 'normalized'; expected 'sum' or 'normalised_pair'"):
        train(str(model), str(data), "dpo()", tmp_path / "o", use_cpu=True, update="normalized")
