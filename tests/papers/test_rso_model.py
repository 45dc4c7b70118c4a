"""RSO on a real model class: a Llama samples, a judge scores, rejection keeps some, hinge-norm trains on their pairs."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "training"))
from small_run import largest_difference, save_small_model, sentence, small_model, write_jsonl

from assent import AssentError, train
from assent.sampling import rounds

QUICK = {
    "rounds": 1, "samples": 12, "max_new_tokens": 8, "learning_rate": 1e-2, "per_device_train_batch_size": 8, "max_length": 64,
    "disable_tqdm": True, "use_cpu": True, "warmup_steps": 0, "source": "iterative", "pairing": "disjoint",
}  # fmt: skip


def count_a(prompts, completions) -> list[float]:
    return [float(text.count("a")) for text in completions]


def test_rejection_feeds_a_llama(tmp_path):
    save_small_model(tmp_path / "model")
    prompts = write_jsonl(tmp_path / "p.jsonl", [{"prompt": sentence(random.Random(i), 1, 4)} for i in range(8)])
    asked = QUICK | {"judge": count_a}
    found = train(
        str(tmp_path / "model"), str(prompts), "hinge(beta=0.05)", tmp_path / "out", rejection="4:0.5", **asked
    )
    data = rounds.read(tmp_path / "out" / "rounds" / "round-000")
    kept = [g.score[g.usable] for g in data.groups]
    assert all(
        len(scores) <= 4 and scores.max() == np.nanmax(g.score) for scores, g in zip(kept, data.groups, strict=True)
    )
    assert data.about["counts"]["rejected"] + sum(map(len, kept)) + data.about["counts"]["empty"] == 96
    assert data.about["rejection"] == "4:0.5" and found.rows == data.pairs >= 8
    assert abs(found.start.loss - 1.0) < 1e-5 and largest_difference(found.model, small_model()) > 1e-3
    with pytest.raises(AssentError, match="keeps more than the 12 samples"):
        train(str(tmp_path / "model"), str(prompts), "hinge()", tmp_path / "b", rejection="13:0.5", **asked)
