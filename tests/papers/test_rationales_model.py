"""DPO with rationales on a real model class: a Llama from disk, trained by `assent.train`; the loss of its start by hand."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from statistics import mean

import torch

sys.path.insert(0, str(Path(__file__).parent))
from tiny_llama import pair_dicts, small_model, three_steps

from assent.data.rationale_view import rationale_view
from assent.records import Pair


def test_rationales_train_a_llama(tmp_path):
    rows = [row | {"rationale": "it ends well here now"} for row in pair_dicts(16, annotators=1)]
    found = three_steps(tmp_path, "dpo_rationale(beta=0.5, gamma=0.3)", rows, max_length=128)

    def said(model: object) -> float:
        """Mean log-probability of the rationales, nats a sequence."""
        sums = []
        for row in rows:
            pair = Pair(row["prompt"], row["chosen"], row["rejected"], rationale=row["rationale"])
            view = rationale_view(pair)
            words = found.tokenizer(view.prompt + view.completion, return_offsets_mapping=True)
            given = sum(end <= len(view.prompt) for _, end in words.offset_mapping)  # line ends join what follows
            ids = torch.tensor([[*words.input_ids, 2]])
            with torch.no_grad():
                logp = model(input_ids=ids).logits[0, :-1].double().log_softmax(-1).gather(1, ids[0, 1:, None])
            sums.append(float(logp[given - 1 :].sum()))
        return mean(sums)

    start, end = said(small_model()), said(found.model.float())
    assert abs(found.start.loss - math.log(2) + 0.3 * start) < 1e-4
    assert end > start + 1 and found.metrics["loss"] < found.start.loss
