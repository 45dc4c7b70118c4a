"""The arithmetic of a linear head in tiles: running sums forward, closed forms backward.

Letters: T tokens, V vocabulary, d width, r rank of an adapter; z raw logits, a shaped logits (scale, soft-cap, temperature),
p = softmax(a), q the reference's.  With g the incoming gradients and H the entropy, S = sum p^2:

    d logp / da = 1[target] - p          d H / da = -p (log p + H)
    d S / da = 2 p (p - S)               d KL(q || p) / da = p - q
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

NARROWEST = 512
"""Vocabulary entries of a tile below which tokens are split too: narrower products waste the processor."""


@dataclass(frozen=True)
class Plan:
    """What a call of the head computes, and within which memory; ``wanted`` in the order of the outputs."""

    wanted: tuple[str, ...]
    scale: float
    softcap: float | None
    temperature: float
    chunk_elements: int
    keep_elements: int
    grad: bool

    def shaped(self, z: Tensor) -> Tensor:
        """Shaped logits, at least float32, out of place."""
        z = z.float() if z.dtype in (torch.float16, torch.bfloat16) else z
        if self.softcap is None:
            return z if self.scale == self.temperature else z * (self.scale / self.temperature)
        return (z * (self.scale / self.softcap)).tanh() * (self.softcap / self.temperature)

    def shape_(self, z: Tensor) -> Tensor:
        """Shaped logits, in place."""
        if self.softcap is None:
            return z if self.scale == self.temperature else z.mul_(self.scale / self.temperature)
        return z.mul_(self.scale / self.softcap).tanh_().mul_(self.softcap / self.temperature)

    def slope(self, a: Tensor) -> Tensor:
        """da / dz over its constant factor scale / temperature, as a new tensor: 1 - tanh^2."""
        return (a * (self.temperature / self.softcap)).square_().neg_().add_(1)

    def tiles(self, tokens: int, vocabulary: int) -> tuple[list[slice], list[slice]]:
        """Slices of the tokens and of the vocabulary; one of each even where there is no token."""
        rows = max(1, min(tokens, self.chunk_elements // min(vocabulary, NARROWEST)))
        columns = max(1, min(vocabulary, self.chunk_elements // rows))
        return _slices(tokens, rows) or [slice(0, 0)], _slices(vocabulary, columns)


def _slices(length: int, step: int) -> list[slice]:
    return [slice(start, min(start + step, length)) for start in range(0, length, step)]


class _Side:
    """A linear head and its inputs, in the dtype of its products."""

    def __init__(self, plan: Plan, dtype: torch.dtype, tensors: tuple[Tensor | None, ...]) -> None:
        hidden, self.weight, self.bias, low, self.lora_b = tensors
        self.plan, self.dtype = plan, dtype
        self.hidden = hidden.to(dtype)
        self.low = None if low is None else low.to(dtype)

    def logits(self, rows: slice, columns: slice, out: Tensor) -> Tensor:
        """Shaped logits of a tile, written to out."""
        _product(out, self.hidden[rows], self.weight[columns].to(self.dtype).t())
        if self.low is not None:
            _product(out, self.low[rows], self.lora_b[columns].to(self.dtype).t(), add=True)
        if self.bias is not None:
            out.add_(self.bias[columns])
        return self.plan.shape_(out)


def _product(out: Tensor, x: Tensor, y: Tensor, add: bool = False) -> None:
    """out = x y, or out += x y; where out has another dtype the product is rounded to that of x first."""
    if out.dtype == x.dtype:
        if add:
            out.addmm_(x, y)
        else:
            torch.mm(x, y, out=out)
    else:
        product = x @ y
        if add:
            out.add_(product)
        else:
            out.copy_(product)


class _Buffers:
    """Scratch tiles by name, allocated once: the first tile is the largest."""

    def __init__(self, like: Tensor) -> None:
        self.like, self.flat = like, {}

    def get(self, name: str, rows: slice, columns: slice) -> Tensor:
        height, width = rows.stop - rows.start, columns.stop - columns.start
        if name not in self.flat:
            self.flat[name] = self.like.new_empty(height * width)
        return self.flat[name][: height * width].view(height, width)


def _places(targets: Tensor, columns: slice) -> tuple[Tensor, Tensor]:
    """Column of each target within a tile [rows, 1], and whether it lies there [rows]; no wait for the device."""
    inside = (targets >= columns.start) & (targets < columns.stop)
    return (targets - columns.start).clamp(0, columns.stop - columns.start - 1)[:, None], inside


class _Running:
    """Running maximum and sums over the vocabulary of each token; sums are of e = exp(a - top), top the maximum so far.

    total: sum of e; e_gap: sum of e (a - top); e_e: sum of e^2; chosen: a of the target, NaN until it is met.
    ref_top, ref_total: the same of the reference's b; cross: sum of its e times (b - ref_top - a + top).
    """

    def __init__(self, tokens: int, like: Tensor, wanted: tuple[str, ...]) -> None:
        self.wanted = wanted
        lowest = torch.finfo(like.dtype).min  # not -inf, whose differences are NaN
        self.top, self.ref_top = (like.new_full((tokens,), lowest) for _ in range(2))
        self.chosen = like.new_full((tokens,), torch.nan)
        self.total, self.e_gap, self.e_e, self.ref_total, self.cross = (like.new_zeros(tokens) for _ in range(5))

    def add(self, rows: slice, a: Tensor, b: Tensor | None, e: Tensor | None, ref_e: Tensor | None) -> Tensor:
        """Take in a tile a, and b of the reference, and overwrite both; returns the factor by which older sums shrank.

        e, ref_e: scratch for the entropy and for the reference.  Without an entropy, a is left as e.
        """
        top = torch.maximum(self.top[rows], a.amax(1))
        shift = self.top[rows] - top
        fade, total = shift.exp(), self.total[rows]
        gap = a.sub_(top[:, None])
        if b is not None:
            self._add_reference(rows, gap, shift, b, ref_e)
        if "entropy" in self.wanted:
            torch.exp(gap, out=e)
            self.e_gap[rows] = fade * (self.e_gap[rows] + shift * total) + gap.mul_(e).sum(1)
        else:
            e = gap.exp_()
        self.total[rows] = fade * total + e.sum(1)
        self.top[rows] = top
        if "sum_sq" in self.wanted:
            self.e_e[rows] = fade.square() * self.e_e[rows] + e.square_().sum(1)
        return fade

    def _add_reference(self, rows: slice, gap: Tensor, shift: Tensor, b: Tensor, e: Tensor) -> None:
        top = torch.maximum(self.ref_top[rows], b.amax(1))
        ref_shift = self.ref_top[rows] - top
        fade, total = ref_shift.exp(), self.ref_total[rows]
        torch.exp(b.sub_(top[:, None]), out=e)
        grown = fade * total + e.sum(1)
        self.cross[rows] = fade * (self.cross[rows] + (ref_shift - shift) * total) + b.sub_(gap).mul_(e).sum(1)
        self.ref_total[rows], self.ref_top[rows] = grown, top

    def values(self) -> dict[str, Tensor]:
        """logp and the wanted values [T]; lse and ref_lse, the normalisers of a and b."""
        log_total = self.total.log()
        found = {"logp": self.chosen - self.top - log_total, "lse": self.top + log_total}
        if "entropy" in self.wanted:
            found["entropy"] = log_total - self.e_gap / self.total
        if "sum_sq" in self.wanted:
            found["sum_sq"] = self.e_e / self.total.square()
        if "kl_ref" in self.wanted:
            found["kl_ref"] = self.cross / self.ref_total + log_total - self.ref_total.log()
            found["ref_lse"] = self.ref_top + self.ref_total.log()
        return found


class TiledValues(torch.autograd.Function):
    """(plan, targets [T], policy's five, reference's five) -> log-probability [T] and the wanted values [T].

    The five: hidden [T, d], weight [V, d], bias [V], low-rank input [T, r], its weight [V, r]; None where absent.
    Parameters are saved as they are, so that sharded modules can gather them again; the reference gets no gradient.
    """

    @staticmethod
    def forward(ctx: Any, plan: Plan, targets: Tensor, *tensors: Tensor | None) -> tuple[Tensor, ...]:
        hidden, weight, _, low, _ = tensors[:5]
        ctx.plan, ctx.dtype = plan, _product_dtype(hidden, weight)
        ctx.set_materialize_grads(False)
        needs = ctx.needs_input_grad[2:7]
        only_hidden = plan.grad and not plan.wanted and low is None and needs[0] and not any(needs[1:])
        with _no_autocast(hidden):
            found, kept, slope = _forward(plan, ctx.dtype, targets, tensors, only_hidden, plan.grad and not only_hidden)
        ctx.names = tuple(found)
        ctx.save_for_backward(targets, *tensors, slope, *found.values(), *kept)
        return tuple(found[name] for name in ("logp", *plan.wanted))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        targets, *tensors = ctx.saved_tensors[:11]
        slope, *rest = ctx.saved_tensors[11:]
        given = dict(zip(("logp", *ctx.plan.wanted), gradients, strict=True))
        with _no_autocast(tensors[0]):
            if slope is not None:
                own = [(slope * given["logp"][:, None]).to(tensors[0].dtype), None, None, None, None]
            else:
                found, kept = dict(zip(ctx.names, rest, strict=False)), rest[len(ctx.names) :]
                own = _backward(ctx.plan, ctx.dtype, targets, tensors, found, kept, given, ctx.needs_input_grad[2:7])
        return None, None, *own, *[None] * 5


def _product_dtype(hidden: Tensor, weight: Tensor) -> torch.dtype:
    device = hidden.device.type
    if torch.is_autocast_enabled(device) and weight.dtype != torch.float64:
        return torch.get_autocast_dtype(device)
    return weight.dtype


def _no_autocast(like: Tensor) -> contextlib.AbstractContextManager:
    return torch.autocast(like.device.type, enabled=False)


def _work_dtype(dtype: torch.dtype) -> torch.dtype:
    return torch.float64 if dtype == torch.float64 else torch.float32


def _forward(
    plan: Plan, dtype: torch.dtype, targets: Tensor, tensors: tuple[Tensor | None, ...], only_hidden: bool, keep: bool
) -> tuple[dict[str, Tensor], list[Tensor], Tensor | None]:
    """Values, kept logits, and d logp / d hidden [T, d] where nothing else has a gradient."""
    policy = _Side(plan, dtype, tensors[:5])
    reference = _Side(plan, _product_dtype(*tensors[5:7]), tensors[5:]) if "kl_ref" in plan.wanted else None
    like = torch.empty(0, dtype=_work_dtype(dtype), device=targets.device)
    running = _Running(len(targets), like, plan.wanted)
    weighted = like.new_zeros(policy.hidden.shape) if only_hidden else None  # sum of e da/dz W, as the sums of running
    scratch, kept, budget = _Buffers(like), [], plan.keep_elements if keep else 0
    blocks, columns_of = plan.tiles(len(targets), len(policy.weight))
    for columns in columns_of:
        for rows in blocks:
            a = policy.logits(rows, columns, scratch.get("a", rows, columns))
            budget -= a.numel()
            if budget >= 0:  # the first tiles only, so that the backward finds them by their order
                kept.append(a.clone())
            place, inside = _places(targets[rows], columns)
            running.chosen[rows] = torch.where(inside, a.gather(1, place).squeeze(1), running.chosen[rows])
            curved = plan.slope(a) if only_hidden and plan.softcap is not None else None
            b = None if reference is None else reference.logits(rows, columns, scratch.get("b", rows, columns))
            e = scratch.get("e", rows, columns) if "entropy" in plan.wanted else None
            fade = running.add(rows, a, b, e, None if b is None else scratch.get("ref_e", rows, columns))
            if only_hidden:
                mixed = (a if curved is None else a.mul_(curved)).to(dtype)
                _product(weighted[rows].mul_(fade[:, None]), mixed, policy.weight[columns].to(dtype), add=True)
    found = running.values()
    if not only_hidden:
        return found, kept, None
    row = policy.weight[targets.clamp(0, len(policy.weight) - 1)].to(like.dtype)
    if plan.softcap is not None:
        row.mul_(plan.slope(running.chosen)[:, None])
    slope = row.sub_(weighted.div_(running.total[:, None])).mul_(plan.scale / plan.temperature)
    return found, kept, slope


def _backward(
    plan: Plan,
    dtype: torch.dtype,
    targets: Tensor,
    tensors: list[Tensor | None],
    found: dict[str, Tensor],
    kept: list[Tensor],
    given: dict[str, Tensor | None],
    needs: tuple[bool, ...],
) -> list[Tensor | None]:
    """Gradients of the policy's five: logits of each tile kept or made again, then products with their gradient."""
    policy = _Side(plan, dtype, tuple(tensors[:5]))
    reference = None
    if given.get("kl_ref") is not None:
        reference = _Side(plan, _product_dtype(*tensors[5:7]), tuple(tensors[5:]))
    sums = _Sums(policy, tensors, needs, len(targets))
    factor = plan.scale / plan.temperature
    g = {name: value * factor for name, value in given.items() if value is not None}
    scratch = _Buffers(found["lse"])
    blocks, columns_of = plan.tiles(len(targets), len(policy.weight))
    stored = iter(kept)
    for columns in columns_of:
        sums.open(columns, len(blocks) == 1)
        for rows in blocks:
            a, saved = scratch.get("a", rows, columns), next(stored, None)
            a = policy.logits(rows, columns, a) if saved is None else a.copy_(saved)
            curved = None if plan.softcap is None else plan.slope(a)
            here = {name: value[rows, None] for name, value in found.items()}
            dz = _gradient(a, here, {name: value[rows, None] for name, value in g.items()}, scratch, rows, columns)
            if reference is not None:
                b = reference.logits(rows, columns, scratch.get("b", rows, columns))
                dz.addcmul_(b.sub_(here["ref_lse"]).exp_(), g["kl_ref"][rows, None], value=-1)
            if "logp" in g:
                place, inside = _places(targets[rows], columns)
                dz.scatter_add_(1, place, (g["logp"][rows] * inside)[:, None])
            sums.add(rows, columns, dz if curved is None else dz.mul_(curved))
        sums.close(columns)
    return sums.gradients()


def _gradient(
    a: Tensor, found: dict[str, Tensor], g: dict[str, Tensor], scratch: _Buffers, rows: slice, columns: slice
) -> Tensor:
    """The part of the gradient of a tile's logits that is p times something, in place of a."""
    constant = torch.zeros_like(found["lse"]) + g.get("logp", 0) - g.get("kl_ref", 0)
    log_p = a.sub_(found["lse"])
    if "entropy" not in g and "sum_sq" not in g:
        return log_p.exp_().mul_(-constant)
    p = torch.exp(log_p, out=scratch.get("p", rows, columns))
    if "entropy" in g:
        constant = constant + g["entropy"] * found["entropy"]
        log_p.mul_(g["entropy"])
    else:
        log_p.zero_()
    if "sum_sq" in g:
        constant = constant + 2 * g["sum_sq"] * found["sum_sq"]
        log_p.addcmul_(p, g["sum_sq"], value=-2)
    return log_p.add_(constant).mul_(p).neg_()


class _Sums:
    """The gradients of the policy's five while tiles come in: float32 sums, a tile of the weight's rows at a time."""

    def __init__(self, side: _Side, tensors: list[Tensor | None], needs: tuple[bool, ...], tokens: int) -> None:
        self.side, self.inputs = side, tensors[:5]
        self.work = _work_dtype(side.dtype)
        self.into: list[Tensor | None] = []
        for place, (tensor, need) in enumerate(zip(self.inputs, needs, strict=True)):
            if not need:
                self.into.append(None)
            elif place in (0, 3):
                self.into.append(torch.zeros_like(tensor, dtype=self.work))
            else:
                self.into.append(torch.empty_like(tensor))
        self.tile: dict[int, Tensor] = {}

    def open(self, columns: slice, once: bool) -> None:
        """Begin a tile; with one block of tokens, or in float32, its sums go straight to where they belong."""
        self.once = once
        for place in (1, 2, 4):
            if (whole := self.into[place]) is not None:
                direct = once or whole.dtype == self.work
                part = whole[columns]
                self.tile[place] = part if direct else torch.empty_like(part, dtype=self.work)

    def add(self, rows: slice, columns: slice, dz: Tensor) -> None:
        side, again = self.side, rows.start > 0
        narrow = dz.to(side.dtype)
        if self.into[0] is not None:
            _product(self.into[0][rows], narrow, side.weight[columns].to(side.dtype), add=True)
        if self.into[3] is not None:
            _product(self.into[3][rows], narrow, side.lora_b[columns].to(side.dtype), add=True)
        if 1 in self.tile:
            _product(self.tile[1], narrow.t(), side.hidden[rows], add=again)
        if 4 in self.tile:
            _product(self.tile[4], narrow.t(), side.low[rows], add=again)
        if 2 in self.tile:
            total = dz.sum(0)
            self.tile[2].add_(total) if again else self.tile[2].copy_(total)

    def close(self, columns: slice) -> None:
        for place, part in self.tile.items():
            whole = self.into[place][columns]
            if part.data_ptr() != whole.data_ptr():
                whole.copy_(part)

    def gradients(self) -> list[Tensor | None]:
        return [None if s is None else s.to(t.dtype) for s, t in zip(self.into, self.inputs, strict=True)]
