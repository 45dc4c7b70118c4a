"""iREPO on a real model class: a Llama samples, five annotators vote on its best and worst, the regression trains it."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "training"))
from small_run import largest_difference, save_small_model, sentence, small_model, write_jsonl

from assent import train
from assent.judges import AnnotatorPool, ScalarJudge
from assent.sampling import rounds

QUICK = {
    "rounds": 2, "samples": 4, "max_new_tokens": 8, "learning_rate": 1e-2, "per_device_train_batch_size": 8, "max_length": 64,
    "disable_tqdm": True, "use_cpu": True, "warmup_steps": 0, "source": "iterative", "round_reference": "previous",
}  # fmt: skip


def test_votes_train_a_llama(tmp_path):
    save_small_model(tmp_path / "model")
    data = write_jsonl(tmp_path / "p.jsonl", [{"prompt": sentence(random.Random(i), 1, 4)} for i in range(8)])
    truth = ScalarJudge(lambda prompts, completions: [float(c.count("a")) for c in completions])
    pool = AnnotatorPool(truth, dict.fromkeys("abcde", 0.8), labels=5)
    found = train(
        str(tmp_path / "model"),
        str(data),
        "irepo_reconstructed(beta=0.5, eps=0.1)",
        tmp_path / "out",
        judge=pool,
        **QUICK,
    )
    assert largest_difference(found.model, small_model()) > 1e-3
    data = rounds.read(tmp_path / "out" / "rounds" / "round-001")
    shares = np.array([np.mean([label.p for label in pair.labels]) for g in data.groups for pair in g.pairs])
    assert set(np.round(5 * shares)) <= {3.0, 4.0, 5.0}
    clipped = shares.clip(0.1, 0.9)
    assert found.start.loss == pytest.approx(np.mean(np.log(clipped / (1 - clipped)) ** 2), abs=1e-4), (
        "policy = reference"
    )
