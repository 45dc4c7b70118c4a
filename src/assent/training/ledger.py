"""What a computation on fake tensors would need: live bytes and their peak by kind, and every operation with its shapes.

Fake tensors have shapes and no values, so that a model of any size runs here in seconds and in a few megabytes.
"""

from __future__ import annotations

import contextlib
import math
import weakref
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

aten = torch.ops.aten


class Spec(NamedTuple):
    """A tensor without its values."""

    shape: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: torch.dtype

    @property
    def numel(self) -> int:
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        return self.numel * self.dtype.itemsize


class Op(NamedTuple):
    """An operation with the shapes of its inputs: what its time depends on."""

    func: Any
    args: tuple[Any, ...]
    kwargs: tuple[tuple[str, Any], ...]

    def tensors(self) -> list[Spec]:
        """The tensors among the inputs, those in lists included."""
        return list(_specs((*self.args, *(value for _, value in self.kwargs))))

    @property
    def flops(self) -> int:
        """Floating-point operations of a matrix product or an attention kernel, 0 for everything else."""
        count = _FLOPS.get(self.func.overloadpacket)
        return 0 if count is None else count(*self.args)

    @property
    def nbytes(self) -> int:
        """Bytes of all inputs; what comes out is of the same order."""
        return sum(spec.nbytes for spec in self.tensors())


def _specs(values: Any) -> Iterator[Spec]:
    for value in values:
        if isinstance(value, Spec):
            yield value
        elif isinstance(value, tuple):
            yield from _specs(value)


def spec(value: Any) -> Any:
    """An argument with every tensor replaced by its Spec and every list by a tuple, so that it can be a key."""
    if isinstance(value, Tensor):
        return Spec(tuple(value.shape), tuple(value.stride()), value.dtype)
    return tuple(spec(v) for v in value) if isinstance(value, list | tuple) else value


def _product(a: Spec, b: Spec, *_: Any) -> int:
    return 2 * a.numel * b.shape[-1]


def _attention(q: Spec, k: Spec, v: Spec, dropout: float = 0.0, causal: bool = False, *_: Any) -> int:
    return 4 * q.numel * k.shape[2] // (2 if causal else 1)


def _attention_backward(grad: Spec, q: Spec, k: Spec, v: Spec, out: Spec, lse: Spec, dropout: float = 0.0,
                        causal: bool = False, *_: Any) -> int:  # fmt: skip
    return 10 * q.numel * k.shape[2] // (2 if causal else 1)


_FLOPS = {
    aten.mm: _product,
    aten.bmm: _product,
    aten._grouped_mm: lambda a, b, *_: 2 * a.numel * b.shape[-1] if len(b.shape) == 3 else 2 * a.numel * b.shape[1],
    aten.addmm: lambda c, a, b, *_: _product(a, b),
    aten.addmm_: lambda c, a, b, *_: _product(a, b),
    aten.baddbmm: lambda c, a, b, *_: _product(a, b),
    aten._scaled_dot_product_flash_attention_for_cpu: _attention,
    aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward,
}


class Ledger(TorchDispatchMode):
    """Entered inside a FakeTensorMode, so that it sees every operation first.

    live: bytes now, by kind.  peak: the most bytes at once, and parts those of each kind then.  ops: how often each
    operation ran since it was last cleared, views left out.  A value that the computation asks for (``item``) is 1.
    """

    def __init__(self) -> None:
        super().__init__()
        self.live: Counter[str] = Counter()
        self.total = self.peak = self.dispatched = 0
        self.parts: dict[str, int] = {}
        self.ops: Counter[Op] = Counter()
        self.kind = "other"
        self._storages: dict[int, tuple[str, int]] = {}

    def clear(self) -> None:
        """Forget the peak so far and the operations; what is alive stays."""
        self.peak, self.parts, self.dispatched = self.total, dict(self.live), 0
        self.ops = Counter()

    @contextlib.contextmanager
    def of(self, kind: str) -> Iterator[None]:
        """What is allocated inside is of this kind."""
        before, self.kind = self.kind, kind
        try:
            yield
        finally:
            self.kind = before

    def relabel(self, tensor: Tensor, kind: str) -> None:
        """The memory of a tensor turns out to be of another kind."""
        key = tensor.untyped_storage()._cdata
        before, size = self._storages.get(key, (None, 0))
        if before is not None and before != kind:
            self.live[before] -= size
            self.live[kind] += size
            self._storages[key] = kind, size

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        if func is aten._local_scalar_dense.default:
            return 1  # no value is known; 1 is finite and true
        if func is torch.ops.prim.device.default:
            return args[0].fake_device  # asked for more often than all else together
        out = _grouped(*args) if func is aten._grouped_mm.default else func(*args, **(kwargs or {}))
        if func.namespace != "aten":
            return out
        self.dispatched += 1
        if not func.is_view:
            self.ops[Op(func, spec(args), tuple((k, spec(v)) for k, v in (kwargs or {}).items()))] += 1
            for tensor in tree_leaves(out):
                if isinstance(tensor, FakeTensor):
                    self._track(tensor)
        return out

    def _track(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self._storages:
            return
        size = storage.nbytes()
        self._storages[key] = self.kind, size
        self.live[self.kind] += size
        self.total += size
        if self.total > self.peak:
            self.peak, self.parts = self.total, dict(self.live)
        weakref.finalize(storage, self._drop, key).atexit = False

    def _drop(self, key: int) -> None:
        kind, size = self._storages.pop(key)
        self.live[kind] -= size
        self.total -= size


def _grouped(a: Tensor, b: Tensor, offsets: Tensor, *_: Any) -> Tensor:
    """The experts' product, whose rule for fake tensors refuses float32 although the operation takes it."""
    if b.dim() == 3:
        return a.new_empty(a.shape[0], b.shape[2])
    return a.new_empty(offsets.shape[0], a.shape[0], b.shape[1])
