"""The reference is a source of log-probabilities; these backends are interchangeable behind one call.

Training all weights, a fresh LoRA and a trained adapter each have another right reference: a frozen second model, the
base under the adapter, and a frozen *copy of the adapter*.  Log-probabilities of a reference that never moves are
computed once before training (``precompute``), which needs none of the three in memory.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from assent.errors import AssentError
from assent.scoring.batch import Batch, collate
from assent.scoring.forward import device_of, evaluating, kept_logits, token_values, unwrap

SCHEMA = 1


class Reference(Protocol):
    """A source of the reference's log-probabilities; calls happen without grad and before the policy's own pass.

    name: words for the model card.  has_logits: whether whole next-token distributions can be had (kl_ref).
    """

    name: str
    has_logits: bool

    def logp(self, policy: nn.Module, batch: Batch, sequences: Sequence[Any]) -> Tensor:
        """Log-probabilities of the counted tokens [T], nats."""
        ...

    def logits(self, policy: nn.Module, batch: Batch) -> Tensor:
        """Next-token logits at the kept places [C * K, V]."""
        ...


class _Live:
    """A backend that runs a model: its log-probabilities come from its logits."""

    has_logits = True

    def logp(self, policy: nn.Module, batch: Batch, sequences: Sequence[Any]) -> Tensor:
        return token_values(self.logits(policy, batch), batch).logp

    def logits(self, policy: nn.Module, batch: Batch) -> Tensor:
        raise TypeError(f"{type(self).__name__} defines no logits")


@dataclass(frozen=True)
class SecondModel(_Live):
    """A model of its own, frozen and in evaluation mode."""

    model: nn.Module
    name: str = "a second model"

    def __post_init__(self) -> None:
        self.model.requires_grad_(False)
        self.model.eval()

    def logits(self, policy: nn.Module, batch: Batch) -> Tensor:
        device = device_of(policy)
        if device_of(self.model) != device:
            self.model.to(device)
        return kept_logits(self.model, batch)


@dataclass(frozen=True)
class AdapterDisabled(_Live):
    """The base under the policy's adapter: right for a fresh LoRA only, whose start is the base."""

    name: str = "the base model (adapter disabled)"

    def logits(self, policy: nn.Module, batch: Batch) -> Tensor:
        peft_model = unwrap(policy)
        if not hasattr(peft_model, "disable_adapter"):
            raise AssentError("the reference is the base under an adapter, but the policy has no adapter; add a LoRA")
        with evaluating(peft_model), peft_model.disable_adapter():
            return kept_logits(policy, batch)


@dataclass(frozen=True)
class CopiedAdapter(_Live):
    """A frozen copy, inside the policy, of the adapter that training continues from."""

    adapter: str = "reference"
    name: str = "the adapter as it was at the start (frozen copy)"

    def logits(self, policy: nn.Module, batch: Batch) -> Tensor:
        with evaluating(unwrap(policy)), active_adapter(unwrap(policy), self.adapter):
            return kept_logits(policy, batch)


@contextlib.contextmanager
def active_adapter(peft_model: nn.Module, adapter: str) -> Iterator[None]:
    """Another adapter for a while; which parameters train is restored as it was."""
    before = peft_model.active_adapter
    flags = [(p, p.requires_grad) for p in peft_model.parameters()]
    peft_model.set_adapter(adapter)
    try:
        yield
    finally:
        peft_model.set_adapter(before)
        for parameter, flag in flags:
            parameter.requires_grad_(flag)


def sequence_key(sequence: Any) -> bytes:
    """16 bytes that stand for a token sequence, its prompt length and its mask."""
    digest = hashlib.blake2b(digest_size=16)
    digest.update(int(sequence.prompt_length).to_bytes(8, "little"))
    digest.update(np.ascontiguousarray(sequence.ids, dtype=np.int64).tobytes())
    digest.update(np.ascontiguousarray(sequence.mask, dtype=bool).tobytes())
    return digest.digest()


@dataclass(frozen=True)
class Precomputed:
    """Per-token log-probabilities of known sequences, by content: a wrong row can never be read.

    keys: sequence key -> (first, last) in values.  values [N] float32 (float64 for a float64 model), nats per token.
    """

    keys: dict[bytes, tuple[int, int]]
    values: Tensor
    name: str = "the policy at the start (log-probabilities computed once)"
    has_logits: bool = field(default=False, init=False)

    @property
    def nbytes(self) -> int:
        """Memory of the table: values and keys."""
        return self.values.numel() * self.values.element_size() + len(self.keys) * 32

    def logp(self, policy: nn.Module, batch: Batch, sequences: Sequence[Any]) -> Tensor:
        parts = []
        for sequence in sequences:
            place = self.keys.get(sequence_key(sequence))
            if place is None:
                raise AssentError("a row has no precomputed reference log-probabilities; precompute all rows first")
            parts.append(self.values[place[0] : place[1]])
        return torch.cat(parts).to(batch.ids.device)

    def logits(self, policy: nn.Module, batch: Batch) -> Tensor:
        raise AssentError("a precomputed reference has no next-token distributions; keep the reference live for kl_ref")

    def save(self, path: str | Path) -> None:
        """Write the table as one safetensors file, moved into place when complete."""
        from safetensors.torch import save_file

        path = Path(path)
        aside = path.with_name(path.name + ".part")
        tensors = {
            "keys": torch.from_numpy(np.frombuffer(b"".join(self.keys), dtype=np.uint8).reshape(-1, 16).copy()),
            "places": torch.tensor(list(self.keys.values()), dtype=torch.int64).reshape(-1, 2),
            "values": self.values,
        }
        save_file(tensors, aside, metadata={"schema": str(SCHEMA), "name": self.name})
        aside.replace(path)

    @classmethod
    def load(cls, path: str | Path) -> Precomputed:
        """Read what ``save`` wrote; AssentError when the schema is another one."""
        from safetensors import safe_open

        with safe_open(str(path), framework="pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("schema") != str(SCHEMA):
                raise AssentError(f"{path} has schema {metadata.get('schema')!r}; expected {SCHEMA}: compute it again")
            keys, places = file.get_tensor("keys"), file.get_tensor("places")
            table = {bytes(k): tuple(p) for k, p in zip(keys.numpy(), places.tolist(), strict=True)}
            return cls(table, file.get_tensor("values"), metadata["name"])


def precompute(
    policy: nn.Module,
    rows: Sequence[Any],
    reference: Reference | None = None,
    *,
    pad_token_id: int = 0,
    tokens_per_batch: int = 8192,
    progress: Any = None,
) -> Precomputed:
    """Reference log-probabilities of all rows (pairs or examples), computed once in evaluation mode.

    reference None: the policy as it is now, before training the right reference in every stage of a LoRA's life.
    progress: called with the number of sequences done and their total after each batch.
    """
    sequences = {sequence_key(s): s for row in rows for s in _sequences(row)}
    ordered = sorted(sequences.items(), key=lambda item: (len(item[1].ids), item[0]))
    keys: dict[bytes, tuple[int, int]] = {}
    parts: list[Tensor] = []
    first = 0
    with evaluating(policy), torch.no_grad():
        for group in _by_budget(ordered, tokens_per_batch):
            batch = collate([s for _, s in group], pad_token_id, device_of(policy))
            if reference is None:
                logp = token_values(kept_logits(policy, batch), batch).logp
            else:
                logp = reference.logp(policy, batch, [s for _, s in group])
            parts.append(logp.cpu())
            for (key, _), length in zip(group, batch.length.tolist(), strict=True):
                keys[key] = (first, first + length)
                first += length
            if progress is not None:
                progress(len(keys), len(ordered))
    values = torch.cat(parts) if parts else torch.zeros(0)
    if reference is None:
        return Precomputed(keys, values)
    return Precomputed(keys, values, f"{reference.name} (log-probabilities computed once)")


def _sequences(row: Any) -> tuple[Any, ...]:
    return (row.chosen, row.rejected) if hasattr(row, "chosen") else (row.sequence,)


def _by_budget(items: Sequence[tuple[bytes, Any]], budget: int) -> Iterator[list[tuple[bytes, Any]]]:
    """Groups of sequences, shortest first, whose padded size stays within the budget (one sequence at least)."""
    group: list[tuple[bytes, Any]] = []
    for item in items:
        if group and (len(group) + 1) * len(item[1].ids) > budget:
            yield group
            group = []
        group.append(item)
    if group:
        yield group
