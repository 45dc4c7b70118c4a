"""On-policy data on a real model class: a Llama samples anew in every round, and the filter leaves pairs with a gap."""

from __future__ import annotations

import random
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "training"))
from small_run import largest_difference, save_small_model, sentence, small_model, write_jsonl

from assent import train
from assent.sampling import rounds

QUICK = {
    "rounds": 3, "samples": 4, "max_new_tokens": 8, "learning_rate": 1e-2, "per_device_train_batch_size": 8, "max_length": 64,
    "disable_tqdm": True, "use_cpu": True, "warmup_steps": 0, "source": "online", "pair_threshold": 2.0,
}  # fmt: skip


def count_a(prompts, completions) -> list[float]:
    return [float(text.count("a")) for text in completions]


def test_fresh_samples_feed_ipo(tmp_path):
    save_small_model(tmp_path / "model")
    prompts = write_jsonl(tmp_path / "p.jsonl", [{"prompt": sentence(random.Random(i), 1, 4)} for i in range(8)])
    found = train(str(tmp_path / "model"), str(prompts), "ipo(tau=0.05)", tmp_path / "out", judge=count_a, **QUICK)
    each = [rounds.read(tmp_path / "out" / "rounds" / f"round-00{i}") for i in range(3)]
    texts = [[t for g in data.groups for t in g.texts] for data in each]
    assert texts[0] != texts[1] != texts[2], "every round samples from the policy of its own"
    gaps = [g.score[p.chosen] - g.score[p.rejected] for data in each for g in data.groups for p in g.pairs]
    assert len(gaps) >= 3 and min(gaps) >= 2.0 and each[0].about["counts"]["below_threshold"] > 0
    assert abs(found.start.loss - 100.0) < 1e-3 and largest_difference(found.model, small_model()) > 1e-3
