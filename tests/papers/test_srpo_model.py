"""SRPO on a real model class: one Llama as generator and reviser, trained by `assent.train`."""

from __future__ import annotations

import sys
from pathlib import Path
from statistics import mean

import torch

sys.path.insert(0, str(Path(__file__).parent))
from tiny_llama import pair_dicts, small_model, three_steps

from assent.data.revision_views import revision_prompt


def test_srpo_trains_a_llama_in_both_roles(tmp_path):
    rows = pair_dicts(16, annotators=1)
    found = three_steps(tmp_path, "srpo(beta=0.1, alpha=0.5)", rows, max_length=128)
    assert abs(found.start.loss - 0.25) < 1e-5  # both parts at policy = reference
    assert found.metrics["loss"] < found.start.loss
    start, end = small_model(), found.model.float()

    def gap(model: object, prompt: str, row: dict) -> float:
        """log p(chosen) - log p(rejected) after the prompt; what comes before both cancels."""
        sums = []
        for side in ("chosen", "rejected"):
            ids = torch.tensor([[*found.tokenizer(prompt + row[side]).input_ids, 2]])
            with torch.no_grad():
                logp = model(input_ids=ids).logits[0, :-1].log_softmax(-1).gather(1, ids[0, 1:, None])
            sums.append(float(logp.sum()))
        return sums[0] - sums[1]

    prompts = [lambda row: row["prompt"]]
    prompts += [lambda row, c=c: revision_prompt(row["prompt"], row[c]) for c in ("rejected", "chosen")]
    moved = [mean(gap(end, p(row), row) - gap(start, p(row), row) for row in rows) for p in prompts]
    assert min(moved) > 0.1, moved
