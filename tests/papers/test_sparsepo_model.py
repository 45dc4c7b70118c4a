"""SparsePO on a real model class: a Llama from disk, trained with its masks by `assent.train`; the start by hand."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from safetensors.torch import load_file

sys.path.insert(0, str(Path(__file__).parent))
from tiny_llama import pair_dicts, save_small_model, small_model, three_steps


def test_sparsepo_trains_a_llama_and_its_masks(tmp_path):
    save_small_model(tmp_path / "reference", seed=4)
    rows = pair_dicts(16, annotators=1)
    found = three_steps(
        tmp_path, "sparsepo(beta=0.3, lam_u=0.02, lam_d=0.01)", rows, reference=str(tmp_path / "reference"),
        head_learning_rate=0.05,
    )  # fmt: skip
    models, losses = [small_model(), small_model(4)], []
    for row in rows:
        margin = penalty = 0.0
        for side, sign in (("chosen", 1), ("rejected", -1)):
            given = len(found.tokenizer(row["prompt"]).input_ids)
            ids = torch.tensor([[*found.tokenizer(row["prompt"] + row[side]).input_ids, 2]])
            with torch.no_grad():
                policy, ref = (m(input_ids=ids).logits[0, given - 1 : -1].double().log_softmax(-1) for m in models)
            ratio = (policy - ref).gather(1, ids[0, given:, None]).sum()
            margin = margin + sign * 0.3 * (ratio + (ref.exp() * (ref - policy)).sum())
            penalty = penalty + (0.02 + 0.01) / 2 * len(policy)  # masks start at 1; a common one halves both
        losses.append(torch.nn.functional.softplus(-margin) + penalty)
    assert abs(found.start.loss - float(torch.stack(losses).mean())) < 1e-4
    assert found.metrics["loss"] < found.start.loss
    masks = load_file(tmp_path / "out" / "assent_heads.safetensors")
    assert float(masks["mask.bias"].max()) < 1.0 and float(masks["mask.weight"].abs().max()) > 0
