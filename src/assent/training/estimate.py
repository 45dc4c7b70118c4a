"""Memory and operations of a step from a model's sizes alone, for models that do not run on fake tensors.

An ordinary decoder layer keeps 16 d + 3 f numbers a token for its backward pass (d width, f width of the feed-forward part,
times the experts of a token): what the simulation finds for Llama, to the last number.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from assent.errors import AssentError
from assent.scoring import loading, lora
from assent.scoring.head import HeadOptions
from assent.scoring.table import sequences_of
from assent.training.arguments import Settings
from assent.training.budget import Bundle
from assent.training.ledger import Op, Spec, aten
from assent.training.policy import lora_of
from assent.training.simulate import Simulated

KEPT_WIDTHS, KEPT_INNER = 16, 3
"""Numbers that a layer keeps for each token: in widths of the model and of the feed-forward part."""
FOUR_BIT = 0.55
"""Bytes of a weight in 4 bits, with its scales."""
CALLS = 370
"""Operations of a layer and micro-batch, views included."""
MOVED = 2.0
"""Bytes that other operations move for each byte that is kept, forward and backward."""


def closed_form(
    settings: Settings, training: Any, worst: Sequence[Sequence[Any]], typical: Sequence[Any], passed: Sequence[Any],
    trees: bool, live: bool,
) -> Simulated:  # fmt: skip
    """What ``Simulation.run`` would find, estimated; AssentError where not even the sizes of the model can be told."""
    model, config = _sizes(settings)
    weights = dict(model.named_parameters())
    total = sum(p.numel() for p in weights.values())
    spec = lora_of(settings)
    trainable = total if spec is None and settings.adapter is None else _adapter(model, spec.rank if spec else 16)
    width = 2 if settings.dtype in ("bfloat16", "bf16", "float16", "fp16") or training.bf16 else 4
    held = FOUR_BIT if settings.load_in_4bit else next(iter(weights.values())).element_size()
    vocabulary = config.vocab_size
    found = Simulated(trees, total, trainable)
    tokens, counted = _tokens(worst[0], trees)
    layer = KEPT_WIDTHS * config.hidden_size + KEPT_INNER * _inner(config)
    layers = config.num_hidden_layers
    kept = tokens * width * (layers * config.hidden_size + layer if training.gradient_checkpointing else layers * layer)
    tiles = HeadOptions()
    head = 4 * (min(counted * vocabulary, tiles.keep_elements) + tiles.chunk_elements)
    found.parts = {
        "weights": round(held * total), "gradients": 4 * trainable, "optimizer": 8 * trainable, "activations": kept,
        "head": head,
    }  # fmt: skip
    if live and trainable == total:
        found.parts["reference"] = round(held * total)
    found.peak = sum(found.parts.values())
    active = sum(p.numel() * _share(name, config) for name, p in weights.items()) - vocabulary * config.hidden_size
    dtype = torch.bfloat16 if width == 2 else torch.float32
    forwards = 1 + (1 if live else 0) + (1 if training.gradient_checkpointing else 0)
    backward = 2 if trainable == total else 1
    some, own = _tokens(typical, trees)
    found.rows = _products(some, own, active, config, dtype, forwards + backward)
    found.rows[Op(aten.clone.default, (_flat(kept * some // max(tokens, 1) // width, dtype),), ())] = round(MOVED)
    found.calls = CALLS * layers
    found.update = Counter({Op(aten.mul.Tensor, (_flat(4 * trainable, torch.float32), 1.0), ()): 1})
    if passed:
        some = sum(len(s.ids) for s in passed)
        found.reference = _products(some, sum(int(sum(s.mask)) for s in passed), active, config, dtype, 1)
    return found


def _sizes(settings: Settings) -> tuple[nn.Module, Any]:
    """The model without memory, and the configuration of its text part."""
    from transformers import AutoConfig, AutoModelForCausalLM

    if isinstance(settings.model, nn.Module):
        return settings.model, settings.model.config.get_text_config()
    source = lora.base_of(settings.model) if lora.is_adapter(settings.model) else settings.model
    try:
        config = AutoConfig.from_pretrained(source, trust_remote_code=settings.trust_remote_code)
        dtype = loading._torch_dtype(settings.dtype or "float32")
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(
                config, dtype=torch.float32 if dtype == "auto" else dtype, trust_remote_code=settings.trust_remote_code
            )
    except (OSError, ValueError, KeyError, ImportError, RuntimeError) as error:
        raise AssentError(f"the model {source} cannot be planned for: {loading._short(error)}") from error
    return model, config.get_text_config()


def _adapter(model: nn.Module, rank: int) -> int:
    """Parameters of an adapter on all linear layers but the output layer."""
    head = model.get_output_embeddings()
    return sum(rank * sum(m.weight.shape) for m in model.modules() if isinstance(m, nn.Linear) and m is not head)


def _experts(config: Any) -> tuple[int, int]:
    """Experts of a layer, and of a token."""
    count = getattr(config, "num_local_experts", None) or getattr(config, "num_experts", None) or 1
    return count, getattr(config, "num_experts_per_tok", None) or 1 if count > 1 else 1


def _inner(config: Any) -> int:
    """Width of the feed-forward part that a token passes through."""
    count, active = _experts(config)
    width = getattr(config, "moe_intermediate_size", None) if count > 1 else None
    return active * (width or getattr(config, "intermediate_size", None) or 4 * config.hidden_size)


def _share(name: str, config: Any) -> float:
    """Which part of a parameter a token meets."""
    count, active = _experts(config)
    return active / count if "experts" in name and count > 1 else 1.0


def _tokens(rows: Sequence[Any], trees: bool) -> tuple[int, int]:
    """Tokens that run for these rows, and those that count."""
    bundle = Bundle.of([Bundle.of_row(row, place, trees) for place, row in enumerate(rows)])
    return bundle.tokens, sum(int(sum(s.mask)) for row in rows for s in sequences_of(row))


def _products(tokens: int, counted: int, active: float, config: Any, dtype: torch.dtype, times: int) -> Counter[Op]:
    """As many square products as have the FLOPs of the trunk, and those of the output layer."""
    d = config.hidden_size
    trunk = Op(aten.mm.default, (_matrix(tokens, d, dtype), _matrix(d, d, dtype)), ())
    slices = max(1, round(active / d / d)) * times
    head = Op(aten.mm.default, (_matrix(counted, d, dtype), _matrix(d, min(config.vocab_size, 8192), dtype)), ())
    return Counter({trunk: slices, head: max(1, round(times * config.vocab_size / min(config.vocab_size, 8192)))})


def _matrix(rows: int, columns: int, dtype: torch.dtype) -> Spec:
    return Spec((rows, columns), (columns, 1), dtype)


def _flat(count: int, dtype: torch.dtype) -> Spec:
    return Spec((count,), (1,), dtype)
