"""The prefix-tree path of a causal language model: a bound forward that takes packed trees and gives per-token values.

``prepare`` binds it onto the model inside all wrappers and sets the attention ``assent_tree``.  Called through the wrapped
model (data-parallel, sharded, with adapters), everything happens inside the model's own ``forward``, so that the hooks of
DDP, FSDP2 and ZeRO-3 fire; state-dict names and ``save_pretrained`` are unchanged, and without trees nothing else is.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from types import MethodType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from assent.scoring import attention
from assent.scoring.batch import collate
from assent.scoring.forward import (
    TokenValues,
    causal_lm_of,
    device_of,
    evaluating,
    kept_logits,
    token_values,
)
from assent.scoring.head import head_values, linear_head
from assent.scoring.tree import TreeBatch, pack

VERIFIED = (
    "gemma2", "gemma3_text", "gpt2", "llama", "mistral", "mixtral", "olmo2", "phi3", "qwen2", "qwen3", "qwen3_moe",
)  # fmt: skip
"""Families (transformers' ``model_type``) whose equality with the plain path is tested, windows and soft-caps included."""

Using = Callable[[nn.Module], AbstractContextManager[nn.Module]]
"""Policy -> context in which a model in the reference's state can be run."""

_TOLERANCE = {torch.float64: 1e-6, torch.float32: 1e-3}
_HALF_TOLERANCE = 0.15
"""Largest difference of a log-probability between the two paths on the probe, in nats; half precisions differ by rounding."""


def values(model: nn.Module, batch: Any, wanted: Iterable[str] = (), reference: Any = None) -> TokenValues:
    """Per-token values of a padded ``Batch`` or a ``TreeBatch`` under ``model``, wrapped or not.

    reference: from ``reference_values``, for kl_ref.
    """
    if isinstance(batch, TreeBatch):
        return TokenValues(*model(tree=batch, wanted=tuple(sorted(wanted)), reference=reference))
    return token_values(kept_logits(model, batch), batch, wanted, reference)


def reference_values(using: Using, policy: nn.Module, batch: Any) -> tuple[Tensor, Any]:
    """The reference's log-probabilities [T], and what ``values`` needs of it for kl_ref."""
    with torch.no_grad(), using(policy) as model:
        if not isinstance(batch, TreeBatch):
            logits = kept_logits(model, batch)
            return token_values(logits, batch).logp, logits
        inner = causal_lm_of(model)
        hidden = trunk(inner, batch)
        logp = _through_head(inner, hidden, batch, (), None).logp
        head = linear_head(inner.get_output_embeddings())
    return logp, (_InState(using, policy) if head is None else head, hidden)


@dataclass(frozen=True)
class _InState:
    """The reference's output layer where it is not linear: entered anew, in the reference's state, at each call."""

    using: Using
    policy: nn.Module

    def __call__(self, hidden: Tensor) -> Tensor:
        with self.using(self.policy) as model:
            return causal_lm_of(model).get_output_embeddings()(hidden)


def prepare(model: nn.Module) -> str:
    """Make ``model`` ready for trees; "" when it is, else why it keeps the plain path, and nothing is changed then.

    A probe of two small trees must agree with the model's own forward, whatever its family.
    """
    inner = causal_lm_of(model)
    if "forward" in vars(inner) and getattr(vars(inner)["forward"], "__func__", None) is _forward_of(type(inner)):
        return ""
    if reason := unsuited(model, inner):
        return reason
    probe = _probe(inner)
    with evaluating(model), torch.no_grad():
        expected = values(model, collate(probe, 0, device_of(inner))).logp
    before = inner.config._attn_implementation
    attention.register()
    inner.set_attn_implementation(attention.NAME)
    if inner.config._attn_implementation != attention.NAME:
        return f"{type(inner).__name__} does not take attention functions from transformers' registry"
    inner.forward = MethodType(_forward_of(type(inner)), inner)
    reason = _compare(model, probe, expected)
    if reason:
        del inner.forward
        inner.set_attn_implementation(before)
    return reason


def prepare_all(*models: nn.Module | None) -> str:
    """``prepare`` every model that is not None, in order; the first reason against, "" where all are ready."""
    return next((reason for model in models if model is not None and (reason := prepare(model))), "")


def unsuited(model: nn.Module, inner: nn.Module, bound: bool = False) -> str:
    """Why a model cannot take trees, as far as its class and configuration tell; "" otherwise.

    bound: a forward that ``prepare`` has bound is no reason.
    """
    name, config = type(inner).__name__, getattr(inner, "config", None)
    if config is None or not hasattr(inner, "set_attn_implementation"):
        return f"{name} is not a model of transformers"
    if "forward" in vars(inner) and not bound:
        return f"the forward of {name} was replaced by another tool"
    if getattr(config, "is_encoder_decoder", False):
        return f"{name} has an encoder and a decoder"
    if getattr(config, "vision_config", None) is not None or getattr(config, "audio_config", None) is not None:
        return f"{name} reads images or sound"
    if inner.get_output_embeddings() is None or inner.base_model is inner:
        return f"{name} has no trunk and output layer that can be told apart"
    if any(c.is_prompt_learning for c in getattr(model, "peft_config", {}).values()):
        return "the adapter learns a prompt, which stands before every sequence"
    kinds = set(getattr(config, "layer_types", None) or ())
    if not kinds <= {"full_attention", "sliding_attention"} or getattr(config, "attention_chunk_size", None):
        return f"{name} has layers other than full and sliding attention"
    if config.model_type not in VERIFIED and getattr(config, "sliding_window", None):
        return f"{name} has a sliding window, and its family is not among those whose windows are tested"
    return ""


def _probe(inner: nn.Module) -> list[Any]:
    """Two rows of two completions each, drawn alike every time."""
    rng, vocabulary = np.random.default_rng(0), inner.get_output_embeddings().weight.shape[0]
    return [
        _Sequence(np.concatenate([prompt, rng.integers(0, vocabulary, size)]), len(prompt))
        for prompt, sizes in ((rng.integers(0, vocabulary, 6), (3, 2)), (rng.integers(0, vocabulary, 2), (2, 4)))
        for size in sizes
    ]


class _Sequence:
    """A sequence of the probe."""

    def __init__(self, ids: np.ndarray, prompt_length: int) -> None:
        self.ids, self.prompt_length = ids.astype(np.int64), prompt_length
        self.mask = np.arange(len(ids)) >= prompt_length


def _compare(model: nn.Module, probe: list[Any], expected: Tensor) -> str:
    """Whether trees give what the model's own forward gave; "" or what they do otherwise."""
    inner = causal_lm_of(model)
    try:
        with evaluating(model), torch.no_grad():
            found = values(model, pack(probe, [(0, 1), (2, 3)], device_of(inner))).logp
    except (TypeError, ValueError, RuntimeError, AttributeError, IndexError) as error:
        return f"{type(inner).__name__} does not run on packed trees ({str(error).splitlines()[0][:120]})"
    error = (found - expected).abs().max().item()
    if not error <= _TOLERANCE.get(inner.dtype, _HALF_TOLERANCE):
        return f"{type(inner).__name__} gives other log-probabilities on packed trees (off by {error:.2g} nats)"
    return ""


@functools.cache
def _forward_of(cls: type) -> Callable[..., Any]:
    """The forward of a class that also takes trees; its signature is the class's own."""
    plain = cls.forward

    @functools.wraps(plain)
    def forward(
        self: nn.Module, *args: Any, tree: TreeBatch | None = None, wanted: tuple[str, ...] = (),
        reference: Any = None, **kwargs: Any,
    ) -> Any:  # fmt: skip
        if tree is None:
            return plain(self, *args, **kwargs)
        hidden = trunk(self, tree)
        return tuple(_through_head(self, hidden, tree, wanted, reference))

    forward.__signature__ = inspect.signature(plain)
    return forward


def trunk(inner: nn.Module, tree: TreeBatch) -> Tensor:
    """Hidden states [T, d] that predict the counted tokens."""
    ids = tree.ids[None]
    with attention.tree_given():
        out = inner.base_model(
            input_ids=ids, position_ids=tree.position[None], attention_mask=torch.ones_like(ids), use_cache=False,
            tree=tree,
        )  # fmt: skip
    return out[0][0].index_select(0, tree.parent)


def _head_facts(config: Any) -> tuple[float | None, float]:
    """Soft-cap and multiplier of the logits."""
    scale = getattr(config, "logit_scale", None) or 1.0 / (getattr(config, "logits_scaling", None) or 1.0)
    return getattr(config, "final_logit_softcapping", None), scale


def _through_head(
    inner: nn.Module, hidden: Tensor, tree: TreeBatch, wanted: tuple[str, ...], reference: Any
) -> TokenValues:
    cap, scale = _head_facts(inner.config)
    return head_values(
        inner.get_output_embeddings(), hidden, tree.target, wanted=wanted, softcap=cap,
        scale=scale, ref=reference,
    )  # fmt: skip
