"""EGPO on a real model class: its loss on judged pairs, and half steps with fresh samples in the loop, by `assent.train`."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from transformers import AutoModelForCausalLM

import assent
from assent.judges import PairwiseJudge
from assent.sampling import rounds

sys.path.insert(0, str(Path(__file__).parent))
from tiny_llama import largest_difference, pair_dicts, save_small_model, small_model, three_steps, write_jsonl


def test_egpo_trains_a_llama(tmp_path):
    rows = [row | {"win_rate_chosen": 0.55, "win_rate_rejected": 0.45} for row in pair_dicts(24, annotators=1)]
    found = three_steps(tmp_path, "egpo(beta=0.1)", rows)
    assert abs(found.start.loss - 1.0) < 1e-5  # (0 - .1 / .1)^2 at policy = reference
    assert found.metrics["loss"] < found.start.loss


def test_half_steps_in_the_loop_raise_the_win_rate(tmp_path):
    """More words "a" win with .9: the preference is general, and samples of later rounds hold more of them."""
    model = save_small_model(tmp_path / "model")
    gap = lambda a, b: np.sign([x.count("a") - y.count("a") for x, y in zip(a, b, strict=True)])  # noqa: E731
    judge = PairwiseJudge(lambda prompts, a, b: 0.5 + 0.4 * gap(a, b))
    prompts = write_jsonl(
        tmp_path / "prompts.jsonl", [{"prompt": f"{word} cat"} for word in ("a", "the", "blue", "red")]
    )
    found = assent.train(
        str(model), str(prompts), "egpo(beta=0.1)", tmp_path / "online", source="online", judge=judge,
        update="extragradient", rounds=12, samples=8, pairing="random", round_prompts=4, per_device_train_batch_size=4,
        max_new_tokens=8, learning_rate=1e-2, warmup_steps=0, save_strategy="no", use_cpu=True, disable_tqdm=True,
        diagnostics_steps=0, max_length=64,
    )  # fmt: skip
    assert found.steps == 12 and not list((tmp_path / "online").glob("checkpoint-*"))
    data = [rounds.read(tmp_path / "online" / "rounds" / f"round-{i:03d}") for i in range(12)]
    words = [np.mean([text.count("a") for group in one.groups for text in group.texts]) for one in data]
    assert np.mean(words[-2:]) > np.mean(words[:2]) + 0.5, words
    reloaded = AutoModelForCausalLM.from_pretrained(tmp_path / "online")
    assert largest_difference(reloaded, found.model) == 0.0 < largest_difference(reloaded, small_model())
    assert all(torch.isfinite(parameter).all() for parameter in reloaded.parameters())
