"""Columns of single tokens from outside the policy: another model's log-probabilities, activations, any function.

Each is a table by content, computed once before training, so that a wrong row can never be read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from assent.errors import AssentError
from assent.scoring.batch import collate
from assent.scoring.forward import causal_lm_of, device_of, evaluating
from assent.scoring.reference import Compute, Precomputed, Reference, tabulate
from assent.weighting.token_masks import activation_mask

TokenFunction = Callable[[Any], Sequence[float]]
"""A token sequence (``ids``, ``prompt_length``, ``mask``) -> a number for each of its counted tokens."""

ACTIVATIONS = "activation_mask"
ATTENTION, FEED_FORWARD = ("self_attn", "attn", "attention"), ("mlp", "feed_forward", "block_sparse_moe")


def from_function(function: TokenFunction, name: str, rows: Sequence[Any]) -> Precomputed:
    """The column that a function gives.  Raises AssentError where its numbers are not one finite number per counted token."""

    def compute(sequences: Sequence[Any]) -> list[Tensor]:
        return [torch.from_numpy(_checked(function(s), s, name)) for s in sequences]

    return tabulate(rows, compute, f"token column {name!r}")


def _checked(values: Sequence[float], sequence: Any, name: str) -> np.ndarray:
    found = np.asarray(values, dtype=np.float32)
    counted = int(np.count_nonzero(sequence.mask))
    if found.shape != (counted,) or not np.isfinite(found).all():
        raise AssentError(
            f"token column {name!r}: its function gave {found.shape} for a sequence of {counted} counted tokens; expected one "
            "finite number for each"
        )
    return found


def activation_masks(policy: nn.Module, reference: Reference, pad_token_id: int) -> Compute:
    """MaPO's mask (2410.05102) of each sequence from the frozen reference.

    Kinds of places: outputs of attention, of feed-forward parts and of whole layers, and the logits, each at the place that
    predicts a token; a kind is the mean over layers, the mask the mean over kinds.
    """

    def compute(sequences: Sequence[Any]) -> list[Tensor]:
        with torch.no_grad(), evaluating(policy), reference.using(policy) as model:
            batch = collate(sequences, pad_token_id, device_of(model))
            kinds = _hooked(model, batch)
            at = (batch.row, batch.position - 1)
            masks = [activation_mask([state[at].float() for state in states], batch.row) for states in kinds.values()]
            return list(torch.stack(masks).mean(0).cpu().split(batch.length.tolist()))

    return compute


def _hooked(model: nn.Module, batch: Any) -> dict[str, list[Tensor]]:
    """Activations [C, L, features] by kind of place, from one forward with hooks."""
    found: dict[str, list[Tensor]] = {"attention": [], "feed_forward": [], "residual": []}
    layers = _layers(causal_lm_of(model))
    handles = []
    for layer in layers:
        places = {"attention": _first(layer, ATTENTION), "feed_forward": _first(layer, FEED_FORWARD), "residual": layer}
        for kind, module in places.items():
            if module is not None:
                handles.append(module.register_forward_hook(_keeper(found[kind])))
    try:
        out = model(input_ids=batch.ids, attention_mask=torch.ones_like(batch.ids), use_cache=False)
    finally:
        for handle in handles:
            handle.remove()
    return {**{kind: states for kind, states in found.items() if states}, "logits": [out.logits]}


def _keeper(kept: list[Tensor]) -> Callable[..., None]:
    return lambda module, inputs, output: kept.append(output[0] if isinstance(output, tuple) else output)


def _first(layer: nn.Module, names: Sequence[str]) -> nn.Module | None:
    return next((getattr(layer, name) for name in names if hasattr(layer, name)), None)


def _layers(inner: nn.Module) -> Sequence[nn.Module]:
    """The model's layers: its longest list of modules of one class."""
    lists = [module for module in inner.modules() if isinstance(module, nn.ModuleList) and len(module)]
    if not lists:
        raise AssentError(f"{type(inner).__name__} has no list of layers whose activations could be read")
    return max(lists, key=len)


def names_of(tables: Mapping[str, Any]) -> list[str]:
    """Names of all token columns there are."""
    return sorted({"id", *tables})
