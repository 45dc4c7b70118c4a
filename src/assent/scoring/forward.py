"""One forward pass of a causal language model to per-token values, and the few facts about wrapped models."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from assent.scoring.batch import Batch

CHUNK_ELEMENTS = 1 << 25
"""Most elements of a float32 copy of half-precision logits that are alive at a time (128 MiB)."""


class TokenValues(NamedTuple):
    """Per counted token [T], in nats: log-probability and, where asked for, entropy, sum of squared probabilities, KL.

    kl_ref is KL(reference || policy) of the next-token distributions (the direction of TDPO, 2404.11999).
    A tuple of tensors, so that hooks of sharded modules see them.
    """

    logp: Tensor
    entropy: Tensor | None = None
    sum_sq: Tensor | None = None
    kl_ref: Tensor | None = None


def unwrap(model: nn.Module) -> nn.Module:
    """The model inside data-parallel and compile wrappers."""
    while True:
        inner = getattr(model, "module", None) or getattr(model, "_orig_mod", None)
        if not isinstance(inner, nn.Module):
            return model
        model = inner


def causal_lm_of(model: nn.Module) -> nn.Module:
    """The causal language model inside wrappers and adapters."""
    inner = unwrap(model)
    return inner.get_base_model() if hasattr(inner, "get_base_model") else inner


def _takes_logits_to_keep(model: nn.Module) -> bool:
    return "logits_to_keep" in inspect.signature(causal_lm_of(model).forward).parameters


def device_of(model: nn.Module) -> torch.device:
    """Where the model's first parameter lies."""
    return next(model.parameters()).device


@contextlib.contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode for a while; every module's own mode is restored afterwards."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True


def kept_logits(model: nn.Module, batch: Batch) -> Tensor:
    """Next-token logits [C * K, V] at the kept places, cut before the output layer where the model allows it."""
    # Padding lies on the right, where causal attention never looks: no mask is needed, and a mask makes fully padded
    # sliding windows NaN (Gemma 2 in float64).
    inputs = {"input_ids": batch.ids, "attention_mask": torch.ones_like(batch.ids), "use_cache": False}
    if _takes_logits_to_keep(model):
        logits = model(**inputs, logits_to_keep=batch.kept).logits
    else:
        logits = model(**inputs).logits[:, batch.kept]
    return logits.flatten(0, 1)


def token_values(
    logits: Tensor, batch: Batch, wanted: Iterable[str] = (), ref_logits: Tensor | None = None
) -> TokenValues:
    """Values of the counted tokens from logits [C * K, V]; ``wanted`` of "entropy", "sum_sq", "kl_ref".

    Log-softmax runs in float32 for half precision (float64 stays), in chunks that the backward pass computes again, so
    that no float32 copy of all logits is kept.
    """
    wanted = tuple(sorted(wanted))
    half = logits.dtype in (torch.float16, torch.bfloat16)
    rows = max(1, CHUNK_ELEMENTS // logits.shape[1]) if half or wanted else len(logits)
    targets = batch.targets_of_kept().split(rows)
    references = [None] * len(targets) if ref_logits is None else ref_logits.split(rows)
    again = (half or bool(wanted)) and torch.is_grad_enabled() and logits.requires_grad
    parts = []
    for chunk, target, reference in zip(logits.split(rows), targets, references, strict=True):
        if again:
            parts.append(checkpoint(_chunk_values, chunk, target, reference, wanted, use_reentrant=False))
        else:
            parts.append(_chunk_values(chunk, target, reference, wanted))
    names = ("logp", *wanted)
    columns = [torch.cat(values)[batch.flat] for values in zip(*parts, strict=True)]
    return TokenValues(**dict(zip(names, columns, strict=True)))


def _chunk_values(
    logits: Tensor, target: Tensor, reference: Tensor | None, wanted: tuple[str, ...]
) -> tuple[Tensor, ...]:
    """The log-probability of each target and the wanted values of each row of logits, in the order of ``wanted``."""
    logits = at_least_float32(logits)
    chosen = logits.gather(1, target[:, None]).squeeze(1)
    if not wanted:
        return (chosen - torch.logsumexp(logits, 1),)  # keeps no second [rows, V] tensor
    log_probs = torch.log_softmax(logits, 1)
    values = [log_probs.gather(1, target[:, None]).squeeze(1)]
    for name in wanted:
        if name == "entropy":
            values.append(-(log_probs.exp() * log_probs).sum(1))
        elif name == "sum_sq":
            values.append((2 * log_probs).exp().sum(1))
        else:
            ref_log_probs = torch.log_softmax(at_least_float32(reference), 1)
            values.append((ref_log_probs.exp() * (ref_log_probs - log_probs)).sum(1))
    return tuple(values)


def at_least_float32(x: Tensor) -> Tensor:
    """Half precisions as float32; float64 stays."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
