"""INPO on a real model class: a small Llama trained by `assent.train` against a mixture of its reference and stored sums."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent))
from tiny_llama import pair_dicts, small_model, three_steps


def test_inpo_trains_a_llama(tmp_path):
    # with old_logp equal to the start's own sums, policy, reference and sampler are one: h = 0, the loss 1 / (4 eta^2)
    from transformers import AutoTokenizer

    three_steps(tmp_path / "first", "ipo(tau=0.5)")  # writes the model and its tokenizer
    tokenizer, model = AutoTokenizer.from_pretrained(tmp_path / "first" / "model"), small_model()
    rows = pair_dicts(24, annotators=1)
    for row in rows:
        for side in ("chosen", "rejected"):
            start = len(tokenizer(row["prompt"]).input_ids)
            ids = torch.tensor([[*tokenizer(row["prompt"] + row[side]).input_ids, tokenizer.eos_token_id]])
            with torch.no_grad():
                logp = model(input_ids=ids).logits[0, :-1].log_softmax(-1).gather(1, ids[0, 1:, None])
            row[f"old_logp_{side}"] = float(logp[start - 1 :].sum())
    found = three_steps(tmp_path / "second", "inpo(eta=0.25, tau=0.1)", rows, learning_rate=1e-3)
    assert abs(found.start.loss - 4.0) < 1e-3
    assert found.metrics["loss"] < found.start.loss
