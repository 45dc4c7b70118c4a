"""DPO and the normalised pair gradient on a real model class: a Llama from disk, trained by `assent.train`."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent))
from tiny_llama import three_steps

from assent.diagnostics.entanglement import PairGradients
from assent.training.normalised_pair import normalised_pair


def test_normalised_steps_raise_the_chosen_side_of_a_trained_llama(tmp_path):
    found = three_steps(tmp_path, "dpo(beta=0.1)")
    assert found.metrics["loss"] < found.start.loss
    model = found.model.float()
    sides = [found.tokenizer(f"the cat sees a red {end}", return_tensors="pt").input_ids for end in ("dog", "fish")]

    def logps() -> list[torch.Tensor]:
        every = (model(input_ids=ids).logits[0, :-1].log_softmax(-1).gather(1, ids[0, 1:, None]) for ids in sides)
        return [logp.sum() for logp in every]

    parameters = list(model.parameters())
    start = [x.item() for x in logps()]
    for _ in range(3):
        chosen, rejected = (torch.autograd.grad(x, parameters) for x in logps())
        assert PairGradients.of(chosen, rejected).cosine > 0.5  # all but the last token is shared
        with torch.no_grad():
            for p, slope in zip(parameters, normalised_pair(chosen, rejected), strict=True):
                p -= 1e-3 * slope
    end = [x.item() for x in logps()]
    assert end[0] > start[0] and end[1] < start[1]
