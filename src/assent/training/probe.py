"""How fast this machine runs the operations of a step: each is run with its own shapes, the dearest first, for a few seconds.

What the time does not suffice for is estimated from the nearest operation of the same kind by its FLOPs, or its bytes.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from assent.training.ledger import Op, Spec

REPEATS = 3
LARGEST = 1 << 29
"""Most bytes of one operation's inputs; a larger list of tensors is cut, a larger tensor is not run."""
FLUSHED = 1 << 25
"""Bytes written before each run on a CPU: in a step an operation seldom finds its inputs in the cache, as it would repeated."""
FLOPS_PER_SECOND, BYTES_PER_SECOND = 2e10, 5e9
"""First guesses, which only order the operations; a number that is reported is measured."""


class Probe:
    """Seconds of operations on a device, each measured once; the least of a few runs, as on a machine without other work."""

    def __init__(self, device: torch.device | str = "cpu") -> None:
        self.device = torch.device(device)
        self.seconds: dict[Op, float] = {}
        self.spent = 0.0
        # with one thread the processor's time is the clock's on a machine without other work
        alone = self.device.type == "cpu" and torch.get_num_threads() == 1
        self._clock = time.thread_time if alone else time.perf_counter
        self._flush = torch.zeros(FLUSHED // 4) if self.device.type == "cpu" else None

    def measure(self, ops: Iterable[Op], budget: float) -> None:
        """Run operations that were not run yet, the dearest of ``ops`` first, within so many seconds."""
        counts, start = Counter(ops) if not isinstance(ops, Counter) else ops, self._clock()
        ranked = sorted((op for op in counts if op not in self.seconds), key=lambda op: -counts[op] * guess(op))
        first = [next((op for op in ranked if (op.flops > 0) == kind), None) for kind in (True, False)]  # in any case
        for op in [op for op in first if op is not None] + [op for op in ranked if op not in first]:
            if op not in first and self._clock() - start > budget:
                break
            taken = self._run(op)
            if taken is not None:
                self.seconds[op] = taken
        self.spent += self._clock() - start

    def of(self, ops: Counter[Op]) -> float:
        """Seconds of all these operations."""
        return sum(count * self.one(op) for op, count in ops.items())

    def one(self, op: Op) -> float:
        """Seconds of one operation: measured, or scaled from the nearest one that was."""
        found = self.seconds.get(op)
        if found is None:
            found = self.seconds_near(op)
        return found

    def seconds_near(self, op: Op) -> float:
        """An operation's seconds by those of the operation of its kind whose work is nearest."""
        size = work(op)
        same = [o for o in self.seconds if o.func is op.func and dtypes(o) == dtypes(op)]
        alike = same or [o for o in self.seconds if (o.flops > 0) == (op.flops > 0)]
        if not alike:
            return guess(op)
        nearest = min(alike, key=lambda o: max(work(o), size) / min(work(o), size))
        return self.seconds[nearest] * size / work(nearest)

    def _run(self, op: Op) -> float | None:
        """Least seconds of a few runs; None where the operation is too large or does not run by itself."""
        op, share = fitted(op)
        if op is None:
            return None
        try:
            args = [self._value(a) for a in op.args]
            kwargs = {name: self._value(v) for name, v in op.kwargs}
            taken = []
            with torch.no_grad():
                for _ in range(REPEATS):
                    if self._flush is not None:
                        self._flush.add_(1.0)
                    start = self._clock()
                    op.func(*args, **kwargs)
                    if self.device.type == "cuda":
                        torch.cuda.synchronize(self.device)
                    taken.append(self._clock() - start)
        except (RuntimeError, TypeError, IndexError, ValueError):  # an operation that needs values, or another device
            return None
        return min(taken) / share

    def _value(self, value: Any) -> Any:
        if isinstance(value, Spec):
            return self._tensor(value)
        if isinstance(value, torch.device):
            return self.device
        return [self._value(v) for v in value] if isinstance(value, tuple) else value

    def _tensor(self, spec: Spec) -> Tensor:
        """Ones; zeros where integers may be places.  Strides are kept, those of 0 too."""
        length = 1 + sum((n - 1) * step for n, step in zip(spec.shape, spec.stride, strict=True)) if spec.numel else 0
        make = torch.ones if spec.dtype.is_floating_point else torch.zeros
        return make(length, dtype=spec.dtype, device=self.device).as_strided(spec.shape, spec.stride)


def fitted(op: Op) -> tuple[Op | None, float]:
    """The operation with its lists of tensors cut so far that it fits, and which share of it that is."""
    if op.nbytes <= LARGEST:
        return op, 1.0
    lists = [a for a in op.args if isinstance(a, tuple) and a and isinstance(a[0], Spec)]
    if not lists:
        return None, 1.0
    length = next((n for n in range(len(lists[0]), 0, -1) if sum(s.nbytes for a in lists for s in a[:n]) <= LARGEST), 0)
    if not length:
        return None, 1.0
    args = tuple(a[:length] if isinstance(a, tuple) and a and isinstance(a[0], Spec) else a for a in op.args)
    cut = Op(op.func, args, op.kwargs)
    return cut, cut.nbytes / op.nbytes


def dtypes(op: Op) -> tuple[torch.dtype, ...]:
    """The number formats of the first inputs."""
    return tuple(s.dtype for s in op.tensors()[:2])


def work(op: Op) -> int:
    """What an operation's time grows with: its FLOPs, or its bytes where it has none."""
    return max(1, op.flops or op.nbytes)


def guess(op: Op) -> float:
    """Seconds before anything was measured."""
    return op.flops / FLOPS_PER_SECOND + op.nbytes / BYTES_PER_SECOND
