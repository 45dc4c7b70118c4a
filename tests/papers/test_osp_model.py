"""Soft preferences on a real model class: a Llama from disk, trained by `assent.train`, reloaded by transformers."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))
from tiny_llama import pair_dicts, small_model, three_steps


@pytest.mark.parametrize("p", [0.9, 0.1])
def test_soft_preferences_train_a_llama(tmp_path, p):
    rows = [row | {"p_chosen": p} for row in pair_dicts(16, annotators=1)]
    found = three_steps(tmp_path, "osp_reconstructed(beta=0.5)", rows)
    assert abs(found.start.loss - math.log(2)) < 1e-5  # whatever the strengths
    moved = []
    for row in rows:
        gap = []
        for model in (found.model.float(), small_model()):
            for side, sign in (("chosen", 1), ("rejected", -1)):
                ids = torch.tensor([[*found.tokenizer(row["prompt"] + row[side]).input_ids, 2]])
                with torch.no_grad():
                    logp = model(input_ids=ids).logits[0, :-1].log_softmax(-1).gather(1, ids[0, 1:, None])
                gap.append(sign * float(logp.sum()))
        moved.append(gap[0] + gap[1] - gap[2] - gap[3])
    mean = sum(moved) / len(moved)
    assert mean > 0.5 if p > 0.5 else mean < -0.5
    entropy = -p * math.log(p) - (1 - p) * math.log(1 - p)
    assert entropy < found.metrics["loss"] < math.log(2)
