"""What enters the reference's forward, as one key: two runs share a cache exactly when it is the same.

Weights count by content, not by name: the same files under another path, or on another machine, give the same key.  What
does not reach a log-probability (dropout in evaluation mode, special token ids, versions of libraries) stays out.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from assent.data.aside import write_aside
from assent.errors import AssentError, reason
from assent.scoring.forward import causal_lm_of, unwrap
from assent.scoring.lora import ADAPTER_CONFIG, base_of, is_adapter
from assent.scoring.shards import file_hash

SCHEMA = 1
MEMORY = "files.json"
"""In the root of the cache: hashes of weight files by path, size, times of change and inode."""

_CONFIG_OUT = {
    "_name_or_path", "transformers_version", "torch_dtype", "dtype", "use_cache", "_attn_implementation",
    "attn_implementation", "_attn_implementation_autoset", "_attn_implementation_internal", "_commit_hash",
    "initializer_range", "bos_token_id", "eos_token_id", "pad_token_id", "tokenizer_class", "output_hidden_states",
    "output_attentions", "return_dict", "quantization_config", "gradient_checkpointing",
}  # fmt: skip
"""Entries of a model's configuration that do not reach a log-probability, or have a place of their own in the key."""
_ADAPTER_OUT = {
    "base_model_name_or_path", "inference_mode", "revision", "peft_version", "auto_mapping", "task_type",
    "init_lora_weights",
}  # fmt: skip


@dataclass(frozen=True)
class Fingerprint:
    """made_of: everything that enters the key, as JSON.  name: words for the model card, which do not."""

    made_of: Mapping[str, Any]
    name: str

    @property
    def key(self) -> str:
        """32 hexadecimal digits."""
        return key_of(self.made_of)


def key_of(made_of: Mapping[str, Any]) -> str:
    """The key of what a fingerprint is made of."""
    text = json.dumps(made_of, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def fingerprint(
    model: nn.Module, source: str | Path | None, *, root: Path, backend: str, adapter: str | Path | None = None,
    merged: bool = False, fresh: bool = False, autocast: str | None = None, temperature: float = 1.0,
) -> Fingerprint:  # fmt: skip
    """The fingerprint of a loaded reference.

    source: the directory or hub id that its weights came from, an adapter's directory included; None for a model that exists in
    memory only, whose weights are hashed there.  root: the cache, which remembers hashes of files.  backend: the path and
    attention of the forward, such as "plain/sdpa" or "assent_tree/cpu".  adapter, merged: a trained adapter and whether it
    was added to the weights.  fresh: the model carries a new adapter and the reference is the base under it.
    autocast: number format of mixed precision.  temperature: what logits are divided by.
    """
    if source is not None and adapter is None and is_adapter(source):
        source, adapter = base_of(source), source
    inner = causal_lm_of(model)
    config = inner.config
    made_of = {
        "schema": SCHEMA,
        **(_in_memory(model, fresh) if source is None else _on_disk(source, root)),
        "code": _own_code(inner),
        "adapter": None if adapter is None else _adapter(Path(adapter), root),
        "merged": merged,
        "quantization": _quantization(config),
        "dtype": _dtypes(model),
        "backend": backend,
        "softcap": getattr(config.get_text_config(), "final_logit_softcapping", None),
        "temperature": temperature,
        "autocast": autocast,
    }
    whose = str(source) if source is not None else "a model in memory"
    name = whose if adapter is None else f"{whose} with the adapter {adapter}"
    return Fingerprint(json.loads(json.dumps(made_of)), name)


def weight_files(folder: Path) -> list[Path]:
    """The files that transformers takes a model's weights from, by name."""
    for whole in ("model.safetensors", "pytorch_model.bin"):
        listed = folder / f"{whole}.index.json"
        if (folder / whole).is_file():
            return [folder / whole]
        if listed.is_file():
            try:
                names = set(json.loads(listed.read_text(encoding="utf-8"))["weight_map"].values())
            except (ValueError, KeyError, TypeError, AttributeError):
                raise AssentError(f"{listed} is no index of weight files; save the model again") from None
            return [folder / name for name in sorted(names)]
    found = sorted(folder.glob("*.safetensors"))
    if not found:
        raise AssentError(f"{folder} holds no weights to hash; expected model.safetensors in it")
    return found


def remembered_hash(path: Path, root: Path) -> str:
    """Hash of a file, read once while its path, size, times of change and inode stay as they are."""
    path = path.resolve()
    status = path.stat()
    state = [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]
    known = _memory(root).get(str(path))
    if isinstance(known, list) and len(known) == 5 and known[:4] == state:
        return str(known[4])
    found = file_hash(path)
    after = path.stat()
    if [after.st_size, after.st_mtime_ns, after.st_ctime_ns, after.st_ino] != state:
        raise AssentError(f"{path} changed while it was read; wait until it is written, then start again")
    # read again just before writing: another process may have added its own, and a lost entry only costs a hash
    content = {"schema": SCHEMA, "files": {**_memory(root), str(path): [*state, found]}}
    root.mkdir(parents=True, exist_ok=True)
    write_aside(root / MEMORY, lambda aside: aside.write_text(json.dumps(content, indent=1), encoding="utf-8"))
    return found


def _memory(root: Path) -> dict[str, Any]:
    """Remembered hashes; none where the file is missing, unreadable or of another schema, since it can be made again."""
    try:
        content = json.loads((root / MEMORY).read_text(encoding="utf-8"))
        return dict(content["files"]) if content["schema"] == SCHEMA else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _on_disk(source: str | Path, root: Path) -> dict[str, Any]:
    """Weights and configuration as they lie on disk, so that no version of a library enters."""
    folder = _folder_of(source)
    config = _json(folder / "config.json")
    return {"weights": _hashes(weight_files(folder), root), "config": _kept(config, _CONFIG_OUT)}


def _own_code(model: nn.Module) -> dict[str, str] | None:
    """Hashes of the code that a model's repository brought along; None for a class of transformers or of the user."""
    module = sys.modules.get(type(model).__module__)
    if not type(model).__module__.startswith("transformers_modules.") or not getattr(module, "__file__", None):
        return None
    return {path.name: file_hash(path) for path in sorted(Path(module.__file__).parent.glob("*.py"))}


def _hashes(paths: list[Path], root: Path) -> dict[str, str]:
    try:
        return {path.name: remembered_hash(path, root) for path in paths}
    except OSError as error:
        raise AssentError(
            f"{error.filename} cannot be read or noted for the reference cache ({reason(error)}); choose another "
            "--cache-dir, or mend the model's directory"
        ) from None


def _folder_of(source: str | Path) -> Path:
    """The directory of a model: itself, or the snapshot of a hub id that was loaded."""
    if Path(source).is_dir():
        return Path(source)
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        found = try_to_load_from_cache(str(source), "config.json")
    except HFValidationError:
        found = None
    if not isinstance(found, str):
        raise AssentError(f"{source} is neither a directory nor a model that was downloaded; load it first")
    return Path(found).parent


def _adapter(folder: Path, root: Path) -> dict[str, Any]:
    if not folder.is_dir():
        folder = _folder_of_adapter(folder)
    files = [p for n in ("adapter_model.safetensors", "adapter_model.bin") if (p := folder / n).is_file()][:1]
    if not files:
        raise AssentError(f"{folder} holds no adapter weights to hash; expected adapter_model.safetensors in it")
    return {"weights": _hashes(files, root), "config": _kept(_json(folder / ADAPTER_CONFIG), _ADAPTER_OUT)}


def _folder_of_adapter(source: Path) -> Path:
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(str(source), ADAPTER_CONFIG) if str(source).count("/") <= 1 else None
    if not isinstance(found, str):
        raise AssentError(f"the adapter {source} is neither a directory nor was it downloaded; load it first")
    return Path(found).parent


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        content = None
    if not isinstance(content, dict):
        raise AssentError(f"{path} is missing or no JSON object; save the model again")
    return content


def _kept(config: Mapping[str, Any], out: set[str]) -> dict[str, Any]:
    """A configuration without what does not reach the forward in evaluation mode, on every level."""
    return {
        name: _kept(value, out) if isinstance(value, Mapping) else value
        for name, value in sorted(config.items())
        if name not in out and "drop" not in name
    }


def _quantization(config: Any) -> Any:
    """How the weights were quantised while loading, as JSON."""
    found = getattr(config, "quantization_config", None)
    if found is None:
        return None
    found = found if isinstance(found, Mapping) else found.to_dict()
    return json.loads(json.dumps(found, default=str, sort_keys=True))


def _is_adapters(name: str) -> bool:
    """Whether a parameter belongs to an adapter rather than to the base."""
    return any(part.startswith("lora_") or part == "modules_to_save" for part in name.split("."))


def _dtypes(model: nn.Module) -> str:
    """Number formats of the base's weights, such as "bfloat16" or "bfloat16+float32"."""
    found = {str(p.dtype).removeprefix("torch.") for n, p in model.named_parameters() if not _is_adapters(n)}
    return "+".join(sorted(found))


def _in_memory(model: nn.Module, fresh: bool) -> dict[str, Any]:
    """Hash of all weights and buffers, and the configuration, of a model that no file stands for."""
    inner, digest = unwrap(model), hashlib.blake2b(digest_size=16)
    for name, value in _state(inner, fresh):
        value = value.detach().cpu().contiguous()
        digest.update(f"{name} {value.dtype} {tuple(value.shape)};".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy())
    config = json.loads(json.dumps(causal_lm_of(model).config.to_diff_dict(), default=str))
    return {
        "state": digest.hexdigest(),
        "class": type(causal_lm_of(model)).__name__,
        "config": _kept(config, _CONFIG_OUT),
    }


def _state(model: nn.Module, fresh: bool) -> Iterator[tuple[str, torch.Tensor]]:
    """Tensors of the state in order of their names; those of the bare base where a fresh adapter lies on it."""
    state = model.state_dict()
    if fresh:
        state = {
            n.removeprefix("base_model.model.").replace(".base_layer.", ".").replace(".original_module.", "."): v
            for n, v in state.items()
            if not _is_adapters(n)
        }
    yield from sorted(state.items())
