"""The arguments that change what a run needs and how fast it is, one at a time: what ``assent plan`` tries."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from torch import nn

from assent.objectives import Objective
from assent.training.arguments import Settings
from assent.training.caching import uncacheable

if TYPE_CHECKING:
    from assent.training.plan import Plan


def variants(
    settings: Settings, training: Any, objective: Objective, found: Plan
) -> list[tuple[str, Any, Mapping[str, Any]]]:
    """(argument, value, all changed arguments): single changes that leave rows, steps and objective as they are."""
    return [
        *_batch_variants(training, found),
        *_model_variants(settings, training),
        *_reference_variants(settings, objective),
    ]


def _batch_variants(training: Any, found: Plan) -> Iterator[tuple[str, Any, Mapping[str, Any]]]:
    size, accumulation = training.per_device_train_batch_size, training.gradient_accumulation_steps
    half = max(found.largest_row, -(-found.largest_micro_batch // 2))
    if half < found.largest_micro_batch:
        yield "max_tokens_per_batch", half, {"max_tokens_per_batch": half}
    if training.max_tokens_per_batch is None:
        sizes = [(size // 2, accumulation * 2)] if size % 2 == 0 else []
        sizes += [(size * 2, accumulation // 2)] if accumulation % 2 == 0 else []
        for rows, times in sizes:
            changes = {"per_device_train_batch_size": rows, "gradient_accumulation_steps": times}
            yield "per_device_train_batch_size", rows, changes


def _model_variants(settings: Settings, training: Any) -> Iterator[tuple[str, Any, Mapping[str, Any]]]:
    yield ("gradient_checkpointing", not training.gradient_checkpointing,
           {"gradient_checkpointing": not training.gradient_checkpointing})  # fmt: skip
    adapted = settings.lora_r is not None or settings.adapter is not None
    if not adapted and not settings.merge:
        yield "lora_r", 16, {"lora_r": 16}
    optim = str(getattr(training.optim, "value", training.optim))
    if optim != "adafactor":
        yield "optim", "adafactor", {"optim": "adafactor"}
    in_memory = isinstance(settings.model, nn.Module)
    if not in_memory and settings.dtype in (None, "float32", "fp32") and not adapted:
        yield "dtype", "bfloat16", {"dtype": "bfloat16"}


def _reference_variants(settings: Settings, objective: Objective) -> Iterator[tuple[str, Any, Mapping[str, Any]]]:
    if not uncacheable(objective):
        other = "cached" if settings.reference_logp == "live" else "live"
        yield "reference_logp", other, {"reference_logp": other, "cache_dir": None}
