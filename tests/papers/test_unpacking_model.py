"""The recipe on real model classes: a reward model from pairs, then PPO of a Llama with that model as the judge."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "training"))
from small_run import largest_difference, pair_dicts, save_small_model, sentence, small_model, write_jsonl

from assent import train
from assent.sampling import rounds

QUICK = {"per_device_train_batch_size": 8, "use_cpu": True, "disable_tqdm": True, "max_length": 64, "learning_rate": 1e-2,
         "warmup_steps": 0, "save_strategy": "no"}  # fmt: skip


def test_a_reward_model_then_ppo(tmp_path):
    save_small_model(tmp_path / "model")
    data = write_jsonl(tmp_path / "pairs.jsonl", pair_dicts(48, annotators=1))
    judge = train(str(tmp_path / "model"), str(data), "bradley_terry()", tmp_path / "rm", num_train_epochs=8, **QUICK)
    assert judge.metrics["rewards/accuracies"] > 0.75
    prompts = write_jsonl(tmp_path / "p.jsonl", [{"prompt": sentence(random.Random(i), 1, 4)} for i in range(8)])
    found = train(
        str(tmp_path / "model"), str(prompts), "ppo(beta=0.01)", tmp_path / "out", source="online", samples=4, rounds=12,
        judge=f"reward:{tmp_path / 'rm'}", max_new_tokens=8, **QUICK | {"per_device_train_batch_size": 4},
    )  # fmt: skip
    each = [rounds.read(tmp_path / "out" / "rounds" / f"round-{i:03d}") for i in range(12)]
    scores = [np.nanmean(np.concatenate([g.score for g in data.groups])) for data in each]
    assert np.mean(scores[-3:]) > np.mean(scores[:3]) + 0.5, scores
    assert found.start.same and largest_difference(found.model, small_model()) > 1e-3
    assert (tmp_path / "out" / "assent_heads.safetensors").is_file()
