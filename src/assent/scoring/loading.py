"""From a path or hub id to a policy that can train, its tokenizer, and the reference that belongs to it."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from assent.errors import AssentError, did_you_mean
from assent.scoring import lora as lora_life
from assent.scoring import reward_model
from assent.scoring.lora import LoraSpec
from assent.scoring.reference import AdapterDisabled, CopiedAdapter, Reference, SecondModel

DTYPES = {"auto": "auto", "float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
DTYPES["float64"] = torch.float64
SHORT = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16", "fp64": "float64"}
Stage = Literal["full", "fresh", "continued"]


@dataclass(frozen=True)
class LoadedModel:
    """A policy and where it stands in its life.

    stage: "full" trains all weights, "fresh" a new LoRA on the base, "continued" an adapter that was trained before.
    source: what was asked for.  base: the model under the adapter (the same as source without one).
    notes: what loading decided and the user should know, one sentence each.  fresh_head: a reward model whose head did not come
    with the base.
    """

    model: nn.Module
    stage: Stage
    source: str
    base: str
    adapter: str | None = None
    merged: bool = False
    notes: tuple[str, ...] = field(default_factory=tuple)
    fresh_head: bool = False

    @property
    def trainable(self) -> int:
        """Number of parameters that train."""
        return sum(p.numel() for p in self.model.parameters() if p.requires_grad)

    @property
    def parameters(self) -> int:
        """Number of all parameters."""
        return sum(p.numel() for p in self.model.parameters())

    def live_reference(self) -> Reference:
        """The policy as it is now, kept: a frozen second model, the base under a fresh LoRA, or a copied adapter.

        Call before training starts.  The bare base is right for a fresh LoRA only.
        """
        if self.stage == "fresh":
            return AdapterDisabled()
        if self.stage == "continued":
            lora_life.copy_adapter(self.model, "reference")
            return CopiedAdapter("reference")
        return SecondModel(copy.deepcopy(self.model), "the policy at the start (frozen copy)")


def load_policy(
    name_or_path: str | Path,
    *,
    dtype: str = "auto",
    attn_implementation: str | None = None,
    lora: LoraSpec | None = None,
    adapter: str | Path | None = None,
    merge: bool = False,
    quantization: Literal["4bit"] | None = None,
    trust_remote_code: bool = False,
    reward: bool = False,
) -> LoadedModel:
    """Load a policy with ``AutoModelForCausalLM`` and prepare it for training: dropout 0, no key-value cache.

    name_or_path: a directory, a hub id, or an adapter directory (it names its base; training continues from it).
    lora: put a fresh adapter on the model.  adapter: continue from this one.  merge: add the adapter's update to
    the base first, so that all weights, or a fresh LoRA, train from there.  reward: load a reward model instead
    (``AutoModelForSequenceClassification``, one output); a causal checkpoint gets a fresh head, which a note tells.
    Raises AssentError in one sentence: no such path, no weights, offline, unreadable adapter, options that contradict.
    """
    source = str(name_or_path)
    if lora_life.is_adapter(source):
        if adapter is not None:
            raise AssentError(f"{source} is an adapter itself; pass its base as the model to use adapter {adapter}")
        adapter, base = source, lora_life.base_of(source)
    else:
        base = source
    _check_options(lora, adapter, merge, quantization)
    notes: list[str] = []
    try:
        model = _load_base(base, dtype, attn_implementation, quantization, trust_remote_code, notes, reward)
    except AssentError as error:
        if base == source:
            raise
        raise AssentError(f"the adapter {source} names its base {base}: {error}") from error
    stage: Stage = "full"
    if adapter is not None:
        lora_life.check_task(adapter, reward)
        model = lora_life.continued_adapter(model, adapter)
        stage = "continued"
        if merge:
            model, stage = lora_life.merge_adapter(model), "full"
            notes.append(f"the adapter {adapter} was merged into {base}")
    fresh = reward and not reward_model.has_head(model.config)
    if fresh and adapter is None:
        notes.append(reward_model.fresh_note(model))
    if lora is not None:
        model, stage = lora_life.fresh_adapter(model, lora, reward), "fresh"
    if stage == "full" and model.dtype in (torch.bfloat16, torch.float16):
        name = _dtype_name(model.dtype)
        notes.append(f"all weights train in {name}: small steps round to nothing; dtype float32 keeps them")
    notes += _without_dropout(model, keep_lora=lora.dropout if lora else None)
    name = None if adapter is None else str(adapter)
    return LoadedModel(model, stage, source, base, name, merge, tuple(notes), fresh)


def from_memory(model: nn.Module, *, lora: LoraSpec | None = None, reward: bool = False) -> LoadedModel:
    """A copy of a model in memory as the policy: the given one stays as it is, and every run of it starts alike.

    reward: as for ``load_policy``.

    Raises AssentError for a model that has an adapter already: its base cannot be told.
    """
    if hasattr(model, "peft_config"):
        raise AssentError("the model in memory has an adapter already; save it and pass its directory as the model")
    name = getattr(model, "name_or_path", "") or "a model in memory"
    made = reward_model.wanted(model.config, "the model in memory", reward, type(model).__name__)
    model = reward_model.from_causal(model) if made else copy.deepcopy(model)
    model.config.use_cache = False
    notes = (*_without_dropout(model), *([reward_model.fresh_note(model)] if made else []))
    if lora is not None:
        return LoadedModel(
            lora_life.fresh_adapter(model, lora, reward), "fresh", name, name, notes=notes, fresh_head=made
        )
    return LoadedModel(model, "full", name, name, notes=notes, fresh_head=made)


def load_reference(name_or_path: str | Path, **options: Any) -> SecondModel:
    """A second model as the reference, frozen; an adapter is merged into its base.  Options as ``load_policy``."""
    merge = lora_life.is_adapter(name_or_path) or options.get("adapter") is not None
    loaded = load_policy(name_or_path, merge=merge, **options)
    return SecondModel(loaded.model, f"second model {loaded.source}")


def load_tokenizer(name_or_path: str | Path, *, trust_remote_code: bool = False) -> Any:
    """The fast tokenizer of a model, or of an adapter's directory or base; its pad token is set.

    A missing pad token becomes the EOS token: padding is masked everywhere, so that EOS still counts where it is real.
    Raises AssentError: none found, a slow one (no character offsets), neither pad nor EOS token.
    """
    from transformers import AutoTokenizer

    source = str(name_or_path)
    if lora_life.is_adapter(source) and not (Path(source) / "tokenizer_config.json").is_file():
        source = lora_life.base_of(source)
    _check_reachable(source, "tokenizer_config.json")
    try:
        tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=trust_remote_code)
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise AssentError(
            f"{source} has no readable tokenizer ({_short(error)}); save one beside the weights"
        ) from error
    if not tokenizer.is_fast:
        raise AssentError(f"the tokenizer of {source} is slow and gives no offsets; convert it to a fast one")
    if tokenizer.pad_token_id is None:
        if tokenizer.eos_token_id is None:
            raise AssentError(
                f"the tokenizer of {source} has no pad and no EOS token; set tokenizer.pad_token and save it"
            )
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def check_vocabulary(model: nn.Module, tokenizer: Any) -> None:
    """Refuse a tokenizer with ids that the model has no embedding for."""
    rows = model.get_input_embeddings().weight.shape[0]
    if len(tokenizer) > rows:
        raise AssentError(
            f"the tokenizer has {len(tokenizer)} tokens, the model embeds {rows}; use the model's own tokenizer"
        )


def _check_options(lora: LoraSpec | None, adapter: Any, merge: bool, quantization: str | None) -> None:
    if quantization not in (None, "4bit"):
        raise AssentError(f"quantization is {quantization!r}; expected '4bit' or none")
    if adapter is not None and lora is not None and not merge:
        raise AssentError(f"the adapter {adapter} is continued as it is; merge it to put a fresh LoRA on top")
    if merge and adapter is None:
        raise AssentError("merge was asked for, but there is no adapter to merge; give an adapter or leave merge out")
    if quantization and lora is None and (adapter is None or merge):
        raise AssentError("4-bit weights cannot be trained; add a LoRA, or continue from an adapter without merging it")


def _torch_dtype(dtype: str | torch.dtype) -> Any:
    if isinstance(dtype, torch.dtype):
        return dtype
    name = SHORT.get(dtype, dtype)
    if name not in DTYPES:
        raise AssentError(f"dtype is {dtype!r}: {did_you_mean(dtype, [*DTYPES, *SHORT])}")
    return DTYPES[name]


def _load_base(
    base: str, dtype: str, attention: str | None, quantization: str | None, trust_remote_code: bool, notes: list[str],
    reward: bool,
) -> nn.Module:  # fmt: skip
    """The bare model, with every dropout of its configuration set to 0 before it is built."""
    from safetensors import SafetensorError
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSequenceClassification

    options: dict[str, Any] = {"dtype": _torch_dtype(dtype), "trust_remote_code": trust_remote_code}
    if attention is not None:
        options["attn_implementation"] = attention
    if quantization is not None:
        options |= _four_bit(options["dtype"])
    _check_reachable(base, "config.json")
    try:
        config = AutoConfig.from_pretrained(base, trust_remote_code=trust_remote_code)
        changed = _zero_dropout_of(config)
        if headless := reward_model.wanted(config, base, reward):
            config.num_labels = 1
        kind = AutoModelForSequenceClassification if reward else AutoModelForCausalLM
        model, found = kind.from_pretrained(base, config=config, output_loading_info=True, **options)
    except (OSError, ValueError, KeyError, ImportError, RuntimeError, SafetensorError) as error:
        raise AssentError(f"the model {base} does not load: {_short(error)}") from error
    if missing := sorted(reward_model.not_of_head(found["missing_keys"]) if headless else found["missing_keys"]):
        some = ", ".join(missing[:3])
        raise AssentError(f"{base} lacks {len(missing)} weights ({some}); they would be random: save it whole")
    model.config.use_cache = False
    if quantization is not None:
        model = lora_life.prepare_four_bit(model)
    if changed:
        notes.append("dropout is set to 0 for training (the model's own: " + ", ".join(changed) + ")")
    return model


def _four_bit(dtype: Any) -> dict[str, Any]:
    from importlib.util import find_spec

    if find_spec("bitsandbytes") is None:
        raise AssentError("4-bit weights need bitsandbytes, which is not installed: pip install 'assent[quantized]'")
    from transformers import BitsAndBytesConfig

    compute = torch.bfloat16 if dtype == "auto" else dtype
    quantized = BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=compute
    )
    return {"quantization_config": quantized}


def _sub_configs(config: Any) -> Iterator[Any]:
    """A configuration and those inside it (text, vision, ...)."""
    yield config
    for name in getattr(config, "sub_configs", {}):
        if (inner := getattr(config, name, None)) is not None:
            yield from _sub_configs(inner)


def _zero_dropout_of(config: Any) -> list[str]:
    """Set every dropout rate of a configuration to 0; returns what was changed, as "name 0.1"."""
    changed = []
    for part in _sub_configs(config):
        for name, value in list(vars(part).items()):
            is_rate = isinstance(value, float) and 0.0 < value < 1.0
            if is_rate and ("drop" in name):
                setattr(part, name, 0.0)
                changed.append(f"{name} {value:g}")
    return changed


def _without_dropout(model: nn.Module, keep_lora: float | None = None) -> list[str]:
    """Dropout that no configuration told of (modules, functional rates, a continued adapter's) is set to 0 too."""
    changed = 0
    for name, module in model.named_modules():
        if keep_lora and "lora_dropout" in name:
            continue
        for attribute, value in list(vars(module).items()):
            is_rate = attribute == "p" if isinstance(module, nn.Dropout) else "drop" in attribute
            if is_rate and isinstance(value, float) and 0.0 < value < 1.0:
                setattr(module, attribute, 0.0)
                changed += 1
    return [f"dropout was set to 0 for training in {changed} layers"] if changed else []


def _check_reachable(source: str, file: str) -> None:
    """One sentence, within seconds, where a model is neither a directory nor to be had from the hub."""
    path = Path(source)
    if path.is_dir():
        if file == "config.json" and not (path / file).is_file():
            raise AssentError(f"{source} has no config.json; expected the directory of a saved model")
        if file == "config.json" and not any(path.glob("*.safetensors")) and not any(path.glob("pytorch_model*.bin")):
            raise AssentError(f"{source} has a config.json but no weights; expected model.safetensors beside it")
        return
    if path.exists() or source.count("/") > 1 or source.startswith((".", "/", "~")):
        raise AssentError(f"{source} is no directory; expected a saved model's directory or a hub id like 'org/name'")
    from huggingface_hub import HfApi, try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError

    try:
        if isinstance(try_to_load_from_cache(source, "config.json"), str):
            return
        HfApi().model_info(source, timeout=10)
    except HFValidationError as error:
        raise AssentError(f"{source!r} is neither a directory here nor a hub id like 'org/name'") from error
    except RepositoryNotFoundError as error:
        raise AssentError(f"{source} is neither a directory here nor a model of the hub that you may read") from error
    except Exception as error:  # any way to be offline: no name service, no route, proxy, time-out, offline mode
        raise AssentError(f"{source} is no directory here and the hub cannot be reached; download it first") from error


def _dtype_name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _short(error: BaseException) -> str:
    """The first line of an error, at most 160 characters."""
    lines = str(error).strip().splitlines()
    return (lines[0] if lines else type(error).__name__)[:160]
