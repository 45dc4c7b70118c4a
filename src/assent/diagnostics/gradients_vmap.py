"""Gradients of several sequences at a time by vmap of grad, for models that torch.func can map over."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from assent.diagnostics import ghost
from assent.diagnostics.gradients_loop import Grams, Named, trainable
from assent.errors import AssentError
from assent.scoring.batch import Batch, collate
from assent.scoring.forward import at_least_float32, causal_lm_of, device_of

ELEMENTS = 1 << 26
"""Most numbers of single gradients that are held at a time."""


def inputs_of(model: nn.Module, batch: Batch) -> dict[str, Any]:
    """Model inputs in which every sequence has positions of its own: learned ones would else be shared by the batch.

    Padding lies on the right, behind what counts, so that causal attention needs no mask.
    """
    inputs: dict[str, Any] = {"input_ids": batch.ids, "attention_mask": torch.ones_like(batch.ids), "use_cache": False}
    if "position_ids" in inspect.signature(causal_lm_of(model).forward).parameters:
        inputs["position_ids"] = torch.arange(batch.ids.shape[1], device=batch.ids.device).expand_as(batch.ids)
    return inputs


def grams(
    model: nn.Module, rows: Sequence[Any], pad_token_id: int, factors: Named | None = None,
    direction: Named | None = None,
) -> Grams:  # fmt: skip
    """Gram matrices of the pairs, as ``gradients_loop.grams`` gives them.

    Raises AssentError where the model cannot be mapped over.
    """
    parameters = {name: p.detach() for name, p in trainable(model).items()}
    step = max(1, ELEMENTS // (2 * sum(p.numel() for p in parameters.values())))
    parts = []
    for start in range(0, len(rows), step):
        chunk = rows[start : start + step]
        try:
            slopes = _slopes(model, parameters, [s for row in chunk for s in (row.chosen, row.rejected)], pad_token_id)
        except (RuntimeError, TypeError, ValueError) as error:
            why = str(error).splitlines()[0][:120]
            kind = type(causal_lm_of(model)).__name__
            raise AssentError(
                f"{kind} cannot be mapped over by torch.func ({why}); use form 'exact' or 'loop'"
            ) from error
        parts.append(_gram(slopes, factors, direction))
    return Grams.joined(parts)


def _slopes(
    model: nn.Module, parameters: dict[str, Tensor], sequences: Sequence[Any], pad_token_id: int
) -> dict[str, Tensor]:
    """Gradients of log pi [C, ...] of every sequence, by parameter."""
    batch = collate(sequences, pad_token_id, device_of(model))
    inputs = inputs_of(model, batch)
    mask = torch.zeros(batch.ids.shape, dtype=torch.bool, device=batch.ids.device)
    mask[batch.row, batch.position] = True

    def logp(parameters: dict[str, Tensor], ids: Tensor, mask: Tensor) -> Tensor:
        own = {name: x[:1] if isinstance(x, Tensor) else x for name, x in inputs.items()} | {"input_ids": ids[None]}
        logits = at_least_float32(functional_call(model, parameters, (), own).logits[0, :-1])
        found = logits.gather(1, ids[1:, None]).squeeze(1) - logits.logsumexp(1)
        return (found * mask[1:]).sum()

    with sdpa_kernel(SDPBackend.MATH):  # the fused kernels know no batching rule
        return vmap(grad(logp), in_dims=(None, 0, 0))(parameters, batch.ids, mask)


def _gram(slopes: dict[str, Tensor], factors: Named | None, direction: Named | None) -> Grams:
    """Summed over the parameters; sequences are chosen and rejected in turn."""
    gram = along = 0.0
    for name, slope in slopes.items():
        pairs = slope.detach().flatten(1).unflatten(0, (-1, 2))
        factor = None if factors is None else factors[name].to(pairs).flatten()
        pairs = pairs if factor is None else pairs * factor
        gram = gram + torch.stack([ghost.inner(pair, pair) for pair in pairs]).cpu()
        if direction is not None:
            towards = direction[name].to(pairs).flatten()
            towards = (towards if factor is None else towards * factor)[None]
            along = along + torch.stack([ghost.inner(pair, towards)[:, 0] for pair in pairs]).cpu()
    return Grams(gram, None if direction is None else along)
