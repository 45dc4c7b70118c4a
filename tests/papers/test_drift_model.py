"""DRIFT and SPIN on a real model class: a Llama samples one side, the log gives the other, rounds move the reference."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "training"))
from small_run import save_small_model, sentence, write_jsonl

from assent import train
from assent.sampling import rounds

QUICK = {
    "rounds": 3, "samples": 1, "max_new_tokens": 8, "learning_rate": 1e-2, "per_device_train_batch_size": 8, "max_length": 64,
    "disable_tqdm": True, "use_cpu": True, "warmup_steps": 0, "source": "iterative", "round_reference": "previous",
}  # fmt: skip


@pytest.mark.parametrize("role", ["rejected", "chosen"])
def test_rounds_leave_the_rejected_and_seek_the_chosen(tmp_path, role):
    save_small_model(tmp_path / "model")
    rows = [{"prompt": sentence(random.Random(i), 1, 4), role: " a a a"} for i in range(8)]
    data = write_jsonl(tmp_path / "d.jsonl", rows)
    found = train(str(tmp_path / "model"), str(data), "dpo(beta=0.5)", tmp_path / "out", logged=role, **QUICK)
    made = [rounds.read(tmp_path / "out" / "rounds" / f"round-00{i}") for i in range(3)]
    logged = [sum(some[-1].logp.sum() for some in r.completions) / len(rows) for r in made]
    assert (logged[0] > logged[1] > logged[2]) if role == "rejected" else (logged[0] < logged[1] < logged[2])
    assert abs(found.start.loss - 0.6931) < 1e-3, "the reference of a round is its own start"
    fixed = [{tuple(some[-1].ids.tolist()) for some in r.completions} for r in made]
    assert (
        fixed[0] == fixed[1] == fixed[2]
        and made[0].completions[0][0].ids.tolist() != made[2].completions[0][0].ids.tolist()
    )
