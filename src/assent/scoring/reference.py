"""The reference is a source of log-probabilities; these backends are interchangeable behind one call.

Training all weights, a fresh LoRA and a trained adapter each have another right reference: a frozen second model, the
base under the adapter, and a frozen *copy of the adapter*.  Log-probabilities of a reference that never moves are
computed once before training (``precompute`` in memory, ``assent.scoring.cache`` on disk), which needs none of the three.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from assent.errors import AssentError
from assent.scoring.batch import collate
from assent.scoring.engine import values
from assent.scoring.forward import device_of, evaluating, unwrap
from assent.scoring.table import Index, batches, distinct, sequence_key
from assent.scoring.tree import pack

__all__ = [
    "AdapterDisabled", "Compute", "CopiedAdapter", "Precomputed", "Reference", "SecondModel", "active_adapter", "computing",
    "precompute", "sequence_key", "tabulate",
]  # fmt: skip


class Reference(Protocol):
    """A source of the reference's log-probabilities; calls happen without grad and before the policy's own pass.

    name: words for the model card.  has_logits: whether whole next-token distributions can be had (kl_ref).
    """

    name: str
    has_logits: bool

    def logp(self, policy: nn.Module, batch: Any, sequences: Sequence[Any]) -> Tensor:
        """Log-probabilities of the counted tokens [T] of a ``Batch`` or ``TreeBatch``, nats."""
        ...

    def using(self, policy: nn.Module) -> contextlib.AbstractContextManager[nn.Module]:
        """The model in the reference's state for a while, in evaluation mode."""
        ...


class _Live:
    """A backend that runs a model: its log-probabilities come from its logits."""

    has_logits = True

    def logp(self, policy: nn.Module, batch: Any, sequences: Sequence[Any]) -> Tensor:
        with self.using(policy) as model:
            return values(model, batch).logp

    def using(self, policy: nn.Module) -> contextlib.AbstractContextManager[nn.Module]:
        raise TypeError(f"{type(self).__name__} defines no model")


@dataclass(frozen=True)
class SecondModel(_Live):
    """A model of its own, frozen and in evaluation mode."""

    model: nn.Module
    name: str = "a second model"

    def __post_init__(self) -> None:
        self.model.requires_grad_(False)
        self.model.eval()

    @contextlib.contextmanager
    def using(self, policy: nn.Module) -> Iterator[nn.Module]:
        device = device_of(policy)
        if device_of(self.model) != device:
            self.model.to(device)
        yield self.model


@dataclass(frozen=True)
class AdapterDisabled(_Live):
    """The base under the policy's adapter: right for a fresh LoRA only, whose start is the base."""

    name: str = "the base model (adapter disabled)"

    @contextlib.contextmanager
    def using(self, policy: nn.Module) -> Iterator[nn.Module]:
        peft_model = unwrap(policy)
        if not hasattr(peft_model, "disable_adapter"):
            raise AssentError("the reference is the base under an adapter, but the policy has no adapter; add a LoRA")
        with evaluating(peft_model), peft_model.disable_adapter():
            yield policy


@dataclass(frozen=True)
class CopiedAdapter(_Live):
    """A frozen copy, inside the policy, of the adapter that training continues from."""

    adapter: str = "reference"
    name: str = "the adapter as it was at the start (frozen copy)"

    @contextlib.contextmanager
    def using(self, policy: nn.Module) -> Iterator[nn.Module]:
        with evaluating(unwrap(policy)), active_adapter(unwrap(policy), self.adapter):
            yield policy


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


@dataclass(frozen=True)
class Precomputed:
    """Per-token log-probabilities of known sequences in memory, by content: a wrong row can never be read.

    keys: where the values of each sequence lie.  values [N] float32 (float64 for a float64 model), nats per token.
    ``assent.scoring.cache`` keeps the same on disk.
    """

    keys: Index
    values: Tensor
    name: str = "the policy at the start (log-probabilities computed once)"
    has_logits: bool = field(default=False, init=False)

    @property
    def nbytes(self) -> int:
        """Memory of the table: values and keys."""
        return self.values.numel() * self.values.element_size() + self.keys.nbytes

    def logp(self, policy: nn.Module, batch: Any, sequences: Sequence[Any]) -> Tensor:
        missing = "a row has no precomputed reference log-probabilities; precompute all rows first"
        return torch.from_numpy(self.keys.gather([self.values.numpy()], sequences, missing)).to(batch.ids.device)

    def using(self, policy: nn.Module) -> contextlib.AbstractContextManager[nn.Module]:
        raise AssentError("a precomputed reference has no next-token distributions; keep the reference live for kl_ref")


Compute = Callable[[Sequence[Any]], list[Tensor]]
"""Token sequences -> the log-probabilities [T_i] of each one's counted tokens, nats, on any device."""


def computing(
    policy: nn.Module, reference: Reference | None = None, pad_token_id: int = 0, *, trees: bool = False
) -> Compute:
    """The forward as a function of sequences: in evaluation mode, without grad, one batch a call.

    reference None: the policy as it is now, before training the right reference in every stage of a LoRA's life.
    trees: completions of one prompt share it (``engine.prepare`` comes first); padded on the right otherwise.
    """

    def compute(sequences: Sequence[Any]) -> list[Tensor]:
        with evaluating(policy), torch.no_grad():
            device = device_of(policy)
            batch = (
                pack(sequences, _by_prompt(sequences), device) if trees else collate(sequences, pad_token_id, device)
            )
            if reference is None:
                logp = values(policy, batch).logp
            else:
                logp = reference.logp(policy, batch, sequences)
            return list(logp.cpu().split(batch.length.tolist()))

    return compute


def _by_prompt(sequences: Sequence[Any]) -> list[tuple[int, ...]]:
    """Numbers of the sequences that have one prompt, prompt by prompt."""
    found: dict[bytes, list[int]] = {}
    for i, sequence in enumerate(sequences):
        found.setdefault(sequence.ids[: sequence.prompt_length].tobytes(), []).append(i)
    return [tuple(numbers) for numbers in found.values()]


def precompute(
    policy: nn.Module,
    rows: Sequence[Any],
    reference: Reference | None = None,
    *,
    pad_token_id: int = 0,
    trees: bool = False,
    tokens_per_batch: int = 8192,
    progress: Callable[[int, int], Any] | None = None,
) -> Precomputed:
    """Reference log-probabilities of all rows (pairs, groups or examples), computed once and kept in memory.

    reference None: the policy as it is now.  trees: see ``computing``.  progress: called with the number of sequences done
    and their total.
    """
    compute = computing(policy, reference, pad_token_id, trees=trees)
    name = Precomputed.name if reference is None else f"{reference.name} (log-probabilities computed once)"
    return tabulate(rows, compute, name, together=trees, tokens_per_batch=tokens_per_batch, progress=progress)


def tabulate(
    rows: Sequence[Any], compute: Compute, name: str, *, together: bool = False, tokens_per_batch: int = 8192,
    progress: Callable[[int, int], Any] | None = None,
) -> Precomputed:  # fmt: skip
    """What ``compute`` gives for every sequence of the rows, kept in memory by content.  together: rows stay in one batch."""
    sequences, keys, owner = distinct(rows)
    parts, order = [], []
    for numbers in batches(sequences, tokens_per_batch, owner if together else None, keys):
        parts += compute([sequences[i] for i in numbers])
        order += numbers
        if progress is not None:
            progress(len(order), len(sequences))
    last = np.cumsum([0, *map(len, parts)], dtype=np.int64)
    table = Index.of([(keys[order], np.column_stack([last[:-1], last[1:]]))])
    return Precomputed(table, torch.cat(parts) if parts else torch.zeros(0), name)
