"""TRL's half of a run, in TRL's interpreter: ``python trl_side.py SPEC.json``.

"trl" is TRL as it is shipped, with its own cache of reference log-probabilities.  "control" is the same with its chunked
head replaced, in this process alone, by one matrix product at the completion tokens, as on a GPU: off a GPU the chunked
head scores every token, prompt and padding included, which is a fallback and not TRL's design.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from measure import Clock, common, digest, finish, losses
from torch.nn import functional as F


class PlainHead:
    """Stands in for TRL's ChunkedLogProbFunction: the same five values, from logits [N, V] that autograd keeps.

    What TRL shows of every step (entropy, mean logit, top-1) is computed here too, without gradient.
    """

    @staticmethod
    def apply(
        hidden: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, targets: torch.Tensor,
        temperature: float, chunk_size: int, softcap: float | None, scale: float, outputs: tuple[str, ...],
    ) -> tuple[torch.Tensor | None, ...]:  # fmt: skip
        if softcap is not None or (scale, temperature) != (1.0, 1.0):
            raise SystemExit("the control knows plain heads only; this model caps or scales its logits")
        logits = F.linear(hidden, weight, bias)
        log_z = logits.logsumexp(-1)
        logp = logits.gather(-1, targets[:, None]).squeeze(-1) - log_z
        with torch.no_grad():
            entropy = mean = top1 = None
            if "entropy" in outputs:
                entropy = log_z - torch.linalg.vecdot((logits - log_z[:, None]).exp_(), logits)
            if "mean_logits" in outputs:
                mean = logits.mean(-1)
            if "is_top1" in outputs:
                top1 = logits.argmax(-1) == targets
        return logp, entropy, None, mean, top1


def plain_head() -> None:
    """Make TRL project completion tokens only (its path on a GPU), through PlainHead."""
    import trl.trainer.utils as utils

    utils._use_triton = lambda device: True  # read by the model's patched forward only, to choose the tokens
    utils._ChunkedLogProbFunction = PlainHead


def run(spec: dict[str, Any]) -> None:
    torch.set_num_threads(spec["threads"])
    from datasets import Dataset
    from transformers import AutoTokenizer, PrinterCallback
    from trl import DPOConfig, DPOTrainer

    if spec["side"] == "control":
        plain_head()
    rows = [json.loads(line) for line in Path(spec["rows"]).read_text().splitlines()]
    tokenizer, dataset = AutoTokenizer.from_pretrained(spec["model"]), Dataset.from_list(rows)
    args = DPOConfig(
        output_dir=spec["output"],
        beta=0.1,
        max_length=spec["max_length"],
        precompute_ref_log_probs=True,
        **common(spec),
    )
    clock = Clock(spec["model"])
    trainer = DPOTrainer(
        model=spec["model"], args=args, train_dataset=dataset, processing_class=tokenizer, callbacks=[clock]
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    trainer.save_model(spec["output"])
    names = ("prompt_ids", "chosen_ids", "rejected_ids")
    tokens = digest(row[name] for row in trainer.train_dataset for name in names)
    finish(spec, losses=losses(trainer.state.log_history), tokens=tokens, **clock.report())


if __name__ == "__main__":
    run(json.loads(Path(sys.argv[1]).read_text()))
