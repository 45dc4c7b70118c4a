"""A moving reference: weights by hand, found at any depth, resumed to the bit, refused where it cannot be."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from small_run import exact_model, largest_difference, token_pairs, trainer_of

from assent import AssentError, parse
from assent.objectives import RunInfo
from assent.scoring.causal_lm import CausalLMScorer
from assent.scoring.reference import SecondModel
from assent.training.moving import Moving, moving_terms

TEXT = "moving_reference(dpo(), share=0.6, every=2)"


def _trainer(folder: Path, text: str = TEXT, **arguments: object):
    model = exact_model()
    scorer = CausalLMScorer(model, SecondModel(copy.deepcopy(model)), 0)
    return trainer_of(
        model, token_pairs(12), parse(text), folder, per_device_train_batch_size=3, scorer=scorer, optim="sgd",
        learning_rate=0.5, lr_scheduler_type="constant", **arguments,
    )  # fmt: skip


def test_the_reference_moves_after_every_second_step(tmp_path: Path) -> None:
    trainer = _trainer(tmp_path, max_steps=3)
    start = copy.deepcopy(trainer.model)
    seen: list[torch.nn.Module] = []
    after = trainer.moving.after_step

    def watched(policy, state) -> None:
        seen.append(copy.deepcopy(policy))
        after(policy, state)

    trainer.moving.after_step = watched
    trainer.run()
    expected = copy.deepcopy(start)
    with torch.no_grad():
        for own, policy in zip(expected.parameters(), seen[1].parameters(), strict=True):
            own.copy_(0.4 * own + 0.6 * policy)
    assert largest_difference(start, seen[1]) > 1e-3
    assert largest_difference(trainer.scorer.reference.model, expected) < 1e-12


def test_a_resumed_run_has_the_reference_of_the_straight_one(tmp_path: Path) -> None:
    saving = {"save_strategy": "steps", "save_steps": 3, "max_steps": 5}
    straight = _trainer(tmp_path / "a", **saving)
    straight.run()
    again = _trainer(tmp_path / "a", **saving)
    again.run(tmp_path / "a" / "checkpoint-3")
    assert largest_difference(again.model, straight.model) == 0.0
    assert largest_difference(again.scorer.reference.model, straight.scorer.reference.model) == 0.0


@pytest.mark.parametrize(
    ("text", "key"),
    [
        (TEXT, ""),
        (f"lcpo({TEXT})", "base"),
        (f"0.5*lcpo(smooth({TEXT}, eps=0.1)) + sft()", "0.base.base"),
    ],
)
def test_it_is_found_at_any_depth(text: str, key: str) -> None:
    ((_, found),) = moving_terms(parse(text))
    assert found == key
    state = parse(text).init(RunInfo())
    assert f"{key}.step".lstrip(".") in state


def test_what_cannot_move_is_refused() -> None:
    reference = SecondModel(exact_model())
    with pytest.raises(AssentError, match="at two paces"):
        Moving(parse(f"{TEXT} + moving_reference(ipo(), share=0.6, every=3)"), reference, False)
    with pytest.raises(AssentError, match="leave the LoRA out"):
        Moving(parse(TEXT), None, False)
    with pytest.raises(AssentError, match="train with DDP"):
        Moving(parse(TEXT), reference, True)
    Moving(parse("dpo()"), None, True).after_step(exact_model(), {})
