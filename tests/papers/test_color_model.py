"""CoLoR on a real model class: a Llama from disk, trained by `assent.train`; the loss of its start by hand."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent))
from tiny_llama import pair_dicts, small_model, three_steps


def test_color_trains_a_llama(tmp_path):
    rows = pair_dicts(16, annotators=1)
    rows[0]["rejected"] = " a cat sees a dog" * 6  # longer than its chosen side by more than 10 words
    found = three_steps(tmp_path, "color()", rows)
    model, losses, factors = small_model(), [], []
    for row in rows:
        logp, size = [], []
        for side in ("chosen", "rejected"):
            given = len(found.tokenizer(row["prompt"]).input_ids)
            ids = torch.tensor([[*found.tokenizer(row["prompt"] + row[side]).input_ids, 2]])
            with torch.no_grad():
                each = model(input_ids=ids).logits[0, :-1].double().log_softmax(-1).gather(1, ids[0, 1:, None])[:, 0]
            logp.append(each[given - 1 :].mean())
            size.append(ids.shape[1] - given)
        odds = [x - torch.log1p(-x.exp()) for x in logp]
        factors.append(min(10.0, max(1.0, 0.1 * (size[1] - size[0]))))
        losses.append(-logp[0] + 2.5 * torch.nn.functional.softplus(-factors[-1] * (odds[0] - odds[1])))
    assert max(factors) > 1.5
    assert abs(found.start.loss - float(torch.stack(losses).mean())) < 1e-4
    assert found.metrics["loss"] < found.start.loss
