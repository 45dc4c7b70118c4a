"""TRL's own loss code on the batch of world.py: its trainers' methods, without their constructors and without a model."""

from __future__ import annotations

import re
import tempfile
from collections import defaultdict
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from peers.world import LIKED, Batch, batch, mismatched

FIELDS = {
    "DPO": "beta loss_weights ld_alpha f_divergence_type f_alpha_divergence_coef label_smoothing use_weighting",
    "KTO": "beta loss_type desirable_weight undesirable_weight",
    "CPO": "beta loss_type label_smoothing cpo_alpha simpo_gamma alpha",
    "ORPO": "beta",
    "TPO": "beta loss_type label_smoothing tpo_alpha tpo_l_gamma",
}
"""What a trainer's constructor copies from its configuration."""


class Gathering:
    """An accelerator of one process."""

    device = torch.device("cpu")

    def gather(self, value: Tensor) -> Tensor:
        return value

    gather_for_metrics = gather


class Fed(torch.nn.Module):
    """A model whose answer to a tensor of tokens is known beforehand."""

    is_gradient_checkpointing = False

    def __init__(self, *answers: tuple[Tensor, Tensor, Batch]) -> None:
        super().__init__()
        self.answers = answers

    def forward(self, input_ids: Tensor, **_: Any) -> SimpleNamespace:
        """The outputs for the tokens that are this very tensor, or else equal ones."""
        same = [a for a in self.answers if a[0] is input_ids] or [a for a in self.answers if a[0].equal(input_ids)]
        _, logits, seen = same[0]
        zeros = torch.zeros_like(seen.token_logps(logits))
        return SimpleNamespace(
            logits=logits,
            log_probs=seen.token_logps(logits),
            log_sum_sq_probs=(2 * logits[:, :-1].log_softmax(-1)).logsumexp(-1),
            entropy=zeros,
            mean_logits=zeros,
            is_top1=zeros.bool(),
        )


def _classes(kind: str) -> tuple[type, type]:
    """The trainer and its configuration."""
    import trl
    from trl.experimental import cpo, orpo, tpo

    home = {"CPO": cpo, "ORPO": orpo, "TPO": tpo}.get(kind, trl)
    return getattr(home, f"{kind}Trainer"), getattr(home, f"{kind}Config")


def values_of(kind: str, field: str) -> set[str]:
    """The values that a trainer's configuration names for one of its fields."""
    about = _classes(kind)[1].__dataclass_fields__[field].metadata
    sentence = about["help"].split("Possible values are:")[-1].split(". ")[0]
    return set(about.get("choices") or re.findall(r"`'?([\w-]+)'?`", sentence))


def _trainer(kind: str, settings: dict[str, Any], policy: Fed, reference: Fed) -> Any:
    """A trainer with the configuration's values, as its constructor would set them; the loss code is TRL's own."""
    cls, config = _classes(kind)
    with tempfile.TemporaryDirectory() as folder:
        args = config(output_dir=folder, use_cpu=True, bf16=False, report_to=[], **settings)
    trainer = object.__new__(cls)
    state = {name: getattr(args, name) for name in FIELDS[kind].split()}
    state |= {"args": args, "accelerator": Gathering(), "model": policy, "ref_model": reference, "_tp_size": 1}
    state |= {"aux_loss_enabled": False, "precompute_ref_logps": False, "is_encoder_decoder": False}
    state |= {"_metrics": defaultdict(lambda: defaultdict(list)), "_total_train_tokens": 0}
    state |= {"pad_token_id": 0, "padding_value": 0, "calculate_KL": settings.get("loss_type", "kto") == "kto"}
    if kind == "DPO":
        state["loss_types"] = args.loss_type
        state["loss_weights"] = args.loss_weights or [1.0] * len(args.loss_type)
    trainer.__dict__.update(state)
    return trainer


def loss(kind: str, settings: dict[str, Any]) -> float:
    """The loss that TRL's trainer ``kind`` with ``settings`` gives the batch."""
    seen = batch()
    other = mismatched(seen)
    kl_ids = seen.ids.clone()
    policy = Fed((seen.ids, seen.policy, seen), (kl_ids, other.policy, other))
    reference = Fed((seen.ids, seen.reference, seen), (kl_ids, other.reference, other))
    trainer = _trainer(kind, settings, policy, reference)
    inputs = {"input_ids": seen.ids, "attention_mask": seen.attention, "completion_mask": seen.completion}
    if kind == "KTO":
        inputs |= {f"KL_{name}": value for name, value in inputs.items()} | {"KL_input_ids": kl_ids}
        inputs["label"] = LIKED
    if kind in ("DPO", "KTO", "TPO"):
        return float(trainer._compute_loss(policy, inputs, False))
    halves = {}
    for side, rows in (("chosen", slice(0, 4)), ("rejected", slice(4, 8))):
        halves[f"{side}_input_ids"], halves[f"{side}_labels"] = seen.ids[rows], seen.labels[rows]
        halves[f"{side}_attention_mask"] = seen.attention[rows]
    return float(trainer.get_batch_loss_metrics(policy, halves)[0])
