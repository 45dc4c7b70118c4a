"""PPO through `assent.train`: a value head beside the policy, values of the round's beginning, and going on after a kill."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from small_run import (
    count_a,
    largest_difference,
    save_model_and_prompts,
    small_model,
    write_jsonl,
)

from assent import AssentError, parse, train
from assent.objectives.parts import Need
from assent.sampling import rounds
from assent.scoring import hidden
from assent.scoring.heads import ValueHead, build

QUICK = {
    "rounds": 6, "samples": 4, "max_new_tokens": 8, "learning_rate": 1e-2, "per_device_train_batch_size": 4, "max_length": 64,
    "disable_tqdm": True, "use_cpu": True, "warmup_steps": 0, "source": "online",
}  # fmt: skip


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model_and_prompts(tmp_path_factory.mktemp("files"))


def run(files: Path, out: Path, objective: str = "ppo(beta=0.01)", **arguments):
    asked = QUICK | {"judge": count_a} | arguments
    return train(str(files / "model"), str(files / "prompts.jsonl"), objective, out, **asked)


def values_of(out: Path, number: int) -> torch.Tensor:
    return load_file(str(out / "rounds" / f"round-00{number}" / "old_value.safetensors"))["value"]


def test_a_run_raises_the_reward_and_learns_values(files: Path, tmp_path: Path) -> None:
    found = run(files, tmp_path / "out")
    scores = [
        np.nanmean(np.concatenate([g.score for g in rounds.read(tmp_path / "out" / "rounds" / f"round-00{i}").groups]))
        for i in range(6)
    ]
    assert scores[-1] > scores[0] + 2.0, scores
    assert (values_of(tmp_path / "out", 0) == 0).all() and 0.5 < values_of(tmp_path / "out", 5).mean() < 4.0
    heads = load_file(str(tmp_path / "out" / "assent_heads.safetensors"))
    assert heads["value.out.weight"].abs().max() > 1e-3 and found.start.same
    names = {name for name, _ in found.model.named_parameters()}
    assert names == {name for name, _ in small_model().named_parameters()}, "what is saved is an ordinary checkpoint"


def test_micro_batches_do_not_change_a_step(files: Path, tmp_path: Path) -> None:
    whole = run(files, tmp_path / "a", rounds=2, per_device_train_batch_size=8)
    parts = run(files, tmp_path / "b", rounds=2, per_device_train_batch_size=2, gradient_accumulation_steps=4)
    assert whole.steps == parts.steps == 2
    assert largest_difference(whole.model, parts.model) < 1e-4, "advantages are whitened over the step"


def test_a_killed_run_goes_on_with_the_values_of_its_round(files: Path, tmp_path: Path) -> None:
    arguments = {"rounds": 3, "save_strategy": "steps", "save_steps": 1}
    straight = run(files, tmp_path / "a", **arguments)
    for step in (6, 5, 4):  # as if it had been killed within its second round
        shutil.rmtree(tmp_path / "a" / f"checkpoint-{step}")
    (tmp_path / "a" / "model.safetensors").unlink()
    shutil.rmtree(tmp_path / "a" / "rounds" / "round-002")
    again = run(files, tmp_path / "a", resume=True, **arguments)
    assert largest_difference(straight.model, again.model) == 0.0


def test_rounds_of_their_own_begin_with_a_fresh_head(files: Path, tmp_path: Path) -> None:
    found = run(files, tmp_path / "out", source="iterative", rounds=2)
    assert not list((tmp_path / "out" / "rounds").rglob("old_value.safetensors")) and found.steps == 2
    assert (tmp_path / "out" / "rounds" / "round-000" / "policy" / "assent_heads.safetensors").is_file()


def test_the_head_starts_at_0_and_gives_the_states_no_gradient() -> None:
    model = small_model()
    heads = build({Need("head", "value", 1)}, model)
    assert isinstance(heads["value"], ValueHead) and set(heads) == {"value"}
    width = hidden.size_of(model)[1]
    states = torch.randn(5, width, requires_grad=True)
    assert heads["value"](states).tolist() == [0.0] * 5
    torch.nn.init.ones_(heads["value"].out.weight)
    centred = states.detach() - states.detach().mean(1, keepdim=True)
    expected = (centred / (centred.var(1, unbiased=False, keepdim=True) + 1e-5).sqrt()).sum(1)
    found = heads["value"](states)
    assert torch.allclose(found, expected, atol=1e-4)
    found.sum().backward()
    assert states.grad is None and heads["value"].out.weight.grad.abs().sum() > 0


def test_it_needs_sampled_rows(files: Path, tmp_path: Path) -> None:
    groups = [{"prompt": "a b", "completions": ["a", "b a"], "scores": [1.0, 0.0]}] * 2
    data = write_jsonl(tmp_path / "g.jsonl", groups)
    with pytest.raises(AssentError, match="old_logp"):
        train(str(files / "model"), str(data), "ppo()", tmp_path / "out", use_cpu=True)
    assert str(parse("ppo(old=None, old_value=None)")).startswith("ppo(clip=0.2")
