"""The cache of a run's reference: what enters its key, and every row's log-probabilities computed where they lack."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import nn

from assent.errors import AssentError
from assent.objectives import Objective, parse
from assent.scoring.cache import Built, ReferenceCache, build, default_root
from assent.scoring.fingerprint import Fingerprint, fingerprint
from assent.scoring.forward import causal_lm_of
from assent.scoring.loading import LoadedModel, check_vocabulary, load_reference
from assent.scoring.lora import base_of, is_adapter
from assent.scoring.reference import Precomputed, SecondModel, computing, precompute
from assent.training.arguments import Settings, resolve

TOKENS_PER_BATCH = 8192
"""Tokens of a forward without gradients, where ``max_tokens_per_batch`` does not say how many fit."""


def uncacheable(objective: Objective) -> str:
    """Why the reference of an objective is not cached (contract 6), "" where it can be."""
    kinds = {need.kind for need in objective.needs}
    if "reference" not in kinds:
        return f"{objective!s} reads no reference"
    if "moving_reference" in kinds:
        return f"{objective!s} moves its reference"
    if "mask" in kinds:
        return f"{objective!s} learns a mask from the reference's hidden states"
    if "kl_ref" in kinds:
        return f"{objective!s} reads the reference's whole next-token distributions"
    return ""


def other_reference(settings: Settings, own: nn.Module) -> SecondModel | None:
    """The fixed model that ``settings.reference`` names, loaded as the policy is; None where it is the policy's start."""
    if settings.reference in (None, "start"):
        return None
    reference = load_reference(
        settings.reference, dtype=settings.dtype or str(own.dtype).removeprefix("torch."),
        attn_implementation=settings.attn_implementation, trust_remote_code=settings.trust_remote_code,
    )  # fmt: skip
    if reference.model.get_input_embeddings().weight.shape[0] < own.get_input_embeddings().weight.shape[0]:
        raise AssentError(
            f"the reference {settings.reference!r} embeds fewer tokens than the model; both must share one tokenizer"
        )
    return reference


def fingerprint_of(
    settings: Settings, training: Any, loaded: LoadedModel, reference: SecondModel | None, *, root: Path, trees: bool
) -> Fingerprint:
    """The key of a run's reference; ``reference`` None is the policy as it starts."""
    half = _autocast(training)
    model = loaded.model if reference is None else reference.model
    attention = getattr(causal_lm_of(model).config, "_attn_implementation", None)
    given: dict[str, Any] = {
        "root": root,
        "backend": f"assent_tree/{training.device.type}" if trees else f"plain/{attention}",
        "autocast": None if half is None else str(half).removeprefix("torch."),
    }
    if reference is not None:
        adapted = is_adapter(settings.reference)  # load_reference merges it
        source, adapter = (base_of(settings.reference), settings.reference) if adapted else (settings.reference, None)
        return fingerprint(model, source, adapter=adapter, merged=adapted, **given)
    source = None if isinstance(settings.model, nn.Module) else loaded.base
    return fingerprint(
        model, source, adapter=loaded.adapter, merged=loaded.merged, fresh=loaded.stage == "fresh", **given
    )


def cached(
    settings: Settings, training: Any, loaded: LoadedModel, reference: SecondModel | None, rows: Sequence[Any], pad: int,
    *, root: Path, trees: bool, progress: Callable[[int, int], Any] | None = None,
) -> tuple[ReferenceCache, Built]:  # fmt: skip
    """Reference log-probabilities of all rows from the cache under ``root``; what lacks is computed and kept there.

    Device and precision are the run's.  Each rank computes its share.  trees: policy and reference are ready for them.
    Raises AssentError where the cache is damaged, belongs to another model or cannot be written.
    """
    policy = loaded.model
    if getattr(policy, "quantization_method", None) is None:
        policy.to(training.device)
    cache = ReferenceCache(root, fingerprint_of(settings, training, loaded, reference, root=root, trees=trees))
    half, ranks = _autocast(training), training.world_size
    with nullcontext() if half is None else torch.autocast(training.device.type, dtype=half):
        return cache, build(
            rows, computing(policy, reference, pad, trees=trees), cache, together=trees, progress=progress,
            tokens_per_batch=settings.max_tokens_per_batch or TOKENS_PER_BATCH,
            share=(training.process_index, ranks), wait=torch.distributed.barrier if ranks > 1 else None,
        )  # fmt: skip


def in_memory(
    training: Any, policy: nn.Module, reference: SecondModel | None, rows: Sequence[Any], pad: int, trees: bool
) -> Precomputed:
    """The same in memory, for one run: nothing is read or written."""
    if getattr(policy, "quantization_method", None) is None:
        policy.to(training.device)
    half = _autocast(training)
    with nullcontext() if half is None else torch.autocast(training.device.type, dtype=half):
        return precompute(policy, rows, reference, pad_token_id=pad, trees=trees)


def _autocast(training: Any) -> torch.dtype | None:
    return torch.bfloat16 if training.bf16 else torch.float16 if training.fp16 else None


def prefill(
    model: Any, data: Any, objective: str | Objective = "dpo()", output_dir: str = "", *,
    cache_dir: str | Path | None = None, progress: Callable[[int, int], Any] | None = None, **arguments: Any,
) -> tuple[ReferenceCache, Built]:  # fmt: skip
    """Fill the cache for a training run of the same arguments, and train nothing."""
    from assent.training.policy import load, takes_trees, wants_trees
    from assent.training.prepare import prepare

    objective = parse(objective)
    if reason := uncacheable(objective):
        raise AssentError(f"{reason}; there is nothing to cache for it")
    settings, training = resolve({"model": model, "data": data, **arguments}, objective, output_dir or "unused")
    prepared = prepare(settings, objective, training.seed, None)
    loaded = load(settings)
    check_vocabulary(loaded.model, prepared.tokenizer)
    reference = other_reference(settings, loaded.model)
    trees = wants_trees(settings, training) and takes_trees(loaded.model, reference)
    root, pad = default_root(cache_dir), prepared.tokenizer.pad_token_id
    return cached(
        settings, training, loaded, reference, prepared.all_rows, pad, root=root, trees=trees, progress=progress
    )
