"""TGDPO on a real model class: policy, reference and guide are three Llamas on disk; the loss of the start by hand."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent))
from tiny_llama import pair_dicts, save_small_model, small_model, three_steps


def test_tgdpo_trains_a_llama_under_a_guide(tmp_path):
    save_small_model(tmp_path / "reference", seed=4)
    save_small_model(tmp_path / "guide", seed=5)
    rows = pair_dicts(16, annotators=1)
    found = three_steps(
        tmp_path, "tgdpo(beta=0.3, alpha=0.7, rewards_column='guide', source='logp')", rows,
        reference=str(tmp_path / "reference"), guide=str(tmp_path / "guide"),
    )  # fmt: skip
    models, losses = [small_model(), small_model(4), small_model(5)], []
    for row in rows:
        margin = 0.0
        for side, sign in (("chosen", 1), ("rejected", -1)):
            given = len(found.tokenizer(row["prompt"]).input_ids)
            ids = torch.tensor([[*found.tokenizer(row["prompt"] + row[side]).input_ids, 2]])
            with torch.no_grad():
                policy, reference, guide = (
                    m(input_ids=ids).logits[0, :-1].double().log_softmax(-1).gather(1, ids[0, 1:, None])[given - 1 :, 0]
                    for m in models
                )
            weight = 1 + sign * 0.7 * 0.3 * (guide - reference)
            margin = margin + sign * 0.3 * (weight * (policy - reference)).sum()
        losses.append(torch.nn.functional.softplus(-margin))
    assert abs(found.start.loss - float(torch.stack(losses).mean())) < 1e-4
    assert found.metrics["loss"] < found.start.loss
