"""The life of a LoRA: fresh on a base, continued, copied as a reference, merged."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from torch import nn

from assent.errors import AssentError

ADAPTER_CONFIG = "adapter_config.json"
POLICY_ADAPTER = "default"
"""PEFT's name of the adapter that trains; the one that is saved."""


@dataclass(frozen=True)
class LoraSpec:
    """A fresh low-rank adapter.

    alpha: scale alpha / rank of the update.  targets: "all-linear" or module names.  also_train: modules trained
    whole and saved with the adapter, such as "embed_tokens".  dropout: 0 by default, as for the rest of the model.
    """

    rank: int = 16
    alpha: float = 32.0
    dropout: float = 0.0
    targets: str | Sequence[str] = "all-linear"
    also_train: Sequence[str] = ()

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise AssentError(f"the LoRA rank is {self.rank}; expected a whole number of at least 1")
        if not 0.0 <= self.dropout < 1.0:
            raise AssentError(f"the LoRA dropout is {self.dropout}; expected a number in [0, 1)")


def require_peft() -> Any:
    """The peft module, or one sentence on how to get it."""
    try:
        import peft
    except ImportError as error:
        raise AssentError("adapters need peft, which is not installed: pip install 'assent[peft]'") from error
    return peft


@contextlib.contextmanager
def _between_versions(model: nn.Module) -> Iterator[None]:
    """Without two warnings of versions that do not know each other: a renamed property, and ties that there are not."""
    with warnings.catch_warnings():
        if not getattr(model.config, "tie_word_embeddings", False):
            warnings.filterwarnings("ignore", message="Model has .tie_word_embeddings=True", category=UserWarning)
        warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing", category=FutureWarning)
        yield


def is_adapter(path: str | Path) -> bool:
    """Whether a directory holds an adapter rather than a whole model."""
    return (Path(path) / ADAPTER_CONFIG).is_file()


def base_of(path: str | Path) -> str:
    """The base model that an adapter directory names."""
    peft = require_peft()
    try:
        base = peft.PeftConfig.from_pretrained(str(path)).base_model_name_or_path
    except (ValueError, KeyError, TypeError) as error:
        raise AssentError(f"{path} has an unreadable {ADAPTER_CONFIG} ({error}); save the adapter again") from error
    if not base:
        raise AssentError(f"{path} does not name its base model; pass the base as the model and {path} as the adapter")
    return base


def fresh_adapter(model: nn.Module, spec: LoraSpec, reward: bool = False) -> nn.Module:
    """The model under a new adapter whose start is the base itself (B = 0); a reward model's head trains whole and is saved."""
    peft = require_peft()
    targets = spec.targets if isinstance(spec.targets, str) else list(spec.targets)
    config = peft.LoraConfig(
        r=spec.rank,
        lora_alpha=spec.alpha,
        lora_dropout=spec.dropout,
        target_modules=targets,
        modules_to_save=list(spec.also_train) or None,
        task_type=task_of(reward),
        **_tied(peft, model, spec),
    )
    try:
        with _between_versions(model):
            return peft.get_peft_model(model, config)
    except ValueError as error:  # PEFT's message names the modules that it looked for
        raise AssentError(f"no LoRA could be put on {targets!r}: {_first_line(error)}") from error


def task_of(reward: bool) -> str:
    """PEFT's name of what the adapted model does."""
    return "SEQ_CLS" if reward else "CAUSAL_LM"


def check_task(path: str | Path, reward: bool) -> None:
    """Refuse an adapter that was trained for the other kind of model."""
    try:
        task = require_peft().PeftConfig.from_pretrained(str(path)).task_type
    except (ValueError, OSError, KeyError, TypeError):
        return  # loading it tells what is wrong
    if task is not None and task != task_of(reward):
        what = ("a reward model", "a policy") if reward else ("a policy", "a reward model")
        raise AssentError(
            f"this run trains {what[0]} and the adapter {path} is that of {what[1]} ({task}); give another adapter or objective"
        )


def _tied(peft: Any, model: nn.Module, spec: LoraSpec) -> dict[str, bool]:
    """Where embedding and output layer are one and either is trained whole, they stay one."""
    known = {field.name for field in fields(peft.LoraConfig)}
    tied = getattr(model.config, "tie_word_embeddings", False) and spec.also_train
    return {"ensure_weight_tying": True} if tied and "ensure_weight_tying" in known else {}


def prepare_four_bit(model: nn.Module) -> nn.Module:
    """A 4-bit model with its norms in float32 and everything frozen, ready for an adapter."""
    peft = require_peft()
    with _between_versions(model):
        return peft.prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)


def continued_adapter(model: nn.Module, path: str | Path, *, trainable: bool = True) -> nn.Module:
    """The base under a trained adapter, whose training goes on."""
    peft = require_peft()
    try:
        with _between_versions(model):
            return peft.PeftModel.from_pretrained(model, str(path), is_trainable=trainable)
    except (ValueError, OSError, RuntimeError) as error:
        raise AssentError(f"the adapter {path} does not load on its base: {_first_line(error)}") from error


def copy_adapter(model: nn.Module, name: str = "reference") -> nn.Module:
    """Put a frozen copy of the active adapter into the model under ``name``; the active one stays active.

    The copy holds the weights as they are now.  Raises AssentError for adapters on bare parameters (fused experts):
    PEFT cannot hold two of them, and the copy would silently be the base.
    """
    peft = require_peft()
    active = model.active_adapter
    config = model.peft_config[active]
    if getattr(config, "target_parameters", None):
        raise AssentError("this adapter sits on bare parameters, which cannot be copied; use a precomputed reference")
    weights = {k: v.detach().clone() for k, v in peft.get_peft_model_state_dict(model, adapter_name=active).items()}
    flags = [(p, p.requires_grad) for p in model.parameters()]
    model.add_adapter(name, config)
    loaded = peft.set_peft_model_state_dict(model, weights, adapter_name=name)
    model.set_adapter(active)
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    for parameter, flag in flags:
        parameter.requires_grad_(flag)
    if getattr(loaded, "unexpected_keys", None):
        raise AssentError(f"the adapter could not be copied as the reference: {loaded.unexpected_keys[0]} has no place")
    return model


def drop_adapter(model: nn.Module, name: str = "reference") -> None:
    """Remove a copied adapter, once its log-probabilities are known."""
    model.delete_adapter(name)


def merge_adapter(model: nn.Module) -> nn.Module:
    """The base with the adapter's update added to its weights: an ordinary model again.

    Raises AssentError when the merged weights are not finite.
    """
    try:
        merged = model.merge_and_unload(safe_merge=True)
    except ValueError as error:
        raise AssentError(f"the adapter cannot be merged: {_first_line(error)}") from error
    if hasattr(
        merged, "peft_config"
    ):  # peft 0.18 leaves it behind, and the next adapter would be taken for a second one
        del merged.peft_config
    return merged


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
