"""GRAO on a real model class: a Llama samples, a judge compares each sample with the data's answer, and the group trains it."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "training"))
from small_run import largest_difference, save_small_model, sentence, small_model, write_jsonl

from assent import parse, train
from assent.judges import ScalarJudge
from assent.sampling import rounds
from assent.scores import GroupScores, Scores

QUICK = {
    "rounds": 3, "samples": 4, "max_new_tokens": 8, "learning_rate": 1e-2, "per_device_train_batch_size": 8, "max_length": 64,
    "disable_tqdm": True, "use_cpu": True, "warmup_steps": 0, "source": "online", "logged": "group",
}  # fmt: skip


def test_a_llama_imitates_the_answer_that_its_samples_do_not_reach(tmp_path):
    save_small_model(tmp_path / "model")
    rows = [{"prompt": sentence(random.Random(i), 1, 4), "chosen": " a a a a"} for i in range(8)]
    data = write_jsonl(tmp_path / "d.jsonl", rows)
    judge = ScalarJudge(lambda prompts, completions: [float(c.count("a ")) for c in completions], temperature=0)
    found = train(str(tmp_path / "model"), str(data), "grao()", tmp_path / "out", judge=judge, **QUICK)
    assert largest_difference(found.model, small_model()) > 1e-3 and found.steps == 3
    first, last = (rounds.read(tmp_path / "out" / "rounds" / f"round-00{i}") for i in (0, 2))
    answer = [np.mean([some[-1].logp.mean() for some in data.completions]) for data in (first, last)]
    assert answer[1] > answer[0] + 0.1
    # the first loss is the formula on the log-probabilities that were stored
    losses = []
    for group, some in zip(first.groups, first.completions, strict=True):
        kept = [k for k in range(len(some)) if not np.isnan(group.score[k])]
        logp = torch.tensor([some[k].logp.sum() for k in kept])
        length, score = torch.tensor([len(some[k]) for k in kept]), torch.tensor(group.score[kept])
        losses.append(parse("grao()")(GroupScores(Scores(logp, None, length), torch.zeros_like(length), score)).item())
    assert found.start.loss == pytest.approx(np.mean(losses), abs=1e-4)
