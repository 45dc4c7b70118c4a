"""The output layer of a language model, in tiles: per-token values without the logits of all tokens.

Logits are made, used and forgotten in tiles of tokens x vocabulary entries; running maxima and sums (as in online softmax,
1805.02867) join the tiles.  Tiles are as wide in tokens as they may be, so that each weight row is read once in
the forward and its gradient is written once in the backward pass.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from assent.errors import AssentError
from assent.scoring.forward import TokenValues, _chunk_values
from assent.scoring.tiles import Plan, TiledValues

EXTRAS = ("entropy", "kl_ref", "sum_sq")
"""Values besides the log-probability; each needs the whole next-token distribution."""


@dataclass(frozen=True)
class HeadOptions:
    """How much memory the head may use, and the temperature that divides its (soft-capped) logits.

    chunk_elements: most entries of a tile of float32 logits.  keep_elements: most logits that are kept for the backward
    pass; what is beyond is computed again there, at the price of one more matrix product.
    """

    chunk_elements: int = 1 << 22
    keep_elements: int = 1 << 25
    temperature: float = 1.0

    def __post_init__(self) -> None:
        if self.chunk_elements < 1 or self.keep_elements < 0:
            given = f"{self.chunk_elements} and {self.keep_elements}"
            raise AssentError(f"chunk_elements and keep_elements are {given}; expected at least 1 and at least 0")
        if not self.temperature > 0:
            raise AssentError(f"the temperature of the head is {self.temperature}; expected a positive number")


@dataclass(frozen=True)
class LinearHead:
    """A head known to be linear: z = h W^T + b, and with an adapter + scaling (h A^T) B^T.

    around: wrappers to be entered first, outermost first.  Weights are read when the head runs, as sharded modules have
    them only then; which adapter is active is settled when this is made.
    """

    around: tuple[nn.Module, ...]
    linear: nn.Linear
    lora_a: nn.Linear | None = None
    lora_b: nn.Linear | None = None
    scaling: float = 1.0


def linear_head(module: nn.Module) -> LinearHead | None:
    """The linear head that a module is in its present state (active adapters, training mode); None if it is not one."""
    if _is_linear(module):
        return LinearHead((), module)
    if "peft" not in sys.modules:
        return None
    from peft.tuners.lora import Linear as LoraLinear
    from peft.utils import ModulesToSaveWrapper

    if _runs(module, ModulesToSaveWrapper):
        active = [name for name in module.active_adapters if name in module.modules_to_save]
        chosen = module.modules_to_save[active[0]] if active and not module.disable_adapters else module.original_module
        return LinearHead((module,), chosen) if _is_linear(chosen) else None
    if not _runs(module, LoraLinear) or not _is_linear(module.base_layer):
        return None
    active = [name for name in module.active_adapters if name in module.lora_A]
    if module.merged and module.disable_adapters:
        return None  # its own forward takes the adapter out of the weights first
    if module.merged or module.disable_adapters or not active:
        return LinearHead((module,), module.base_layer)
    name = active[0]
    lora_a, lora_b, dropout = module.lora_A[name], module.lora_B[name], module.lora_dropout[name]
    drops = not isinstance(dropout, nn.Identity) and dropout.training and getattr(dropout, "p", 1.0) > 0
    plain = _is_linear(lora_a) and _is_linear(lora_b) and lora_a.bias is None and lora_b.bias is None
    if len(active) > 1 or drops or not plain or name in getattr(module, "lora_variant", {}):
        return None
    return LinearHead((module,), module.base_layer, lora_a, lora_b, module.scaling[name])


def head_values(
    head: nn.Module,
    hidden: Tensor,
    targets: Tensor,
    *,
    wanted: Iterable[str] = (),
    softcap: float | None = None,
    scale: float = 1.0,
    options: HeadOptions = HeadOptions(),
    ref: tuple[nn.Module | LinearHead, Tensor] | None = None,
) -> TokenValues:
    """Values of the targets [T] under the head's distributions at hidden [T, d]; ``wanted`` of "entropy", "sum_sq", "kl_ref".

    Logits are softcap * tanh(scale * z / softcap) / temperature.  The head may be ``nn.Linear``, one with a LoRA, or any
    other module: the first two run in tiles with closed-form gradients, the last by checkpointed chunks of tokens.
    The head is entered through its own call, so that hooks fire; they see the tuple of values, not logits.
    ref: head and hidden states [T, d] of the reference, without gradient; a reference that is the same module with
    other adapters is given as ``linear_head(module)``, made while those are active.
    A target outside the vocabulary gives NaN (an IndexError by chunks).  Raises AssentError on an unknown
    wanted value, on "kl_ref" without ref, and on shapes that do not fit.
    """
    names = ("logp", *_checked(hidden, targets, wanted, ref))
    plan = Plan(
        names[1:], scale, softcap, options.temperature, options.chunk_elements, options.keep_elements,
        torch.is_grad_enabled(),
    )  # fmt: skip
    ref = ref if "kl_ref" in names else None
    policy = linear_head(head)
    reference = None if ref is None else ref[0] if isinstance(ref[0], LinearHead) else linear_head(ref[0])
    if policy is None or (ref is not None and reference is None):
        values = _by_chunks(head, hidden, targets, plan, ref)
    elif ref is None:
        values = _enter(policy, hidden, lambda *own: TiledValues.apply(plan, targets, *own, *[None] * 5))
    else:
        # the reference's modules stay entered around the policy's: both are read tile by tile, and again in the backward
        values = _enter(
            reference,
            ref[1].detach(),
            lambda *other: _enter(policy, hidden, lambda *own: TiledValues.apply(plan, targets, *own, *other)),
        )
    return TokenValues(**dict(zip(names, values, strict=True)))


def _checked(hidden: Tensor, targets: Tensor, wanted: Iterable[str], ref: Any) -> tuple[str, ...]:
    """The wanted names, sorted."""
    names = tuple(sorted(set(wanted)))
    if unknown := [name for name in names if name not in EXTRAS]:
        raise AssentError(f"the head was asked for {unknown[0]!r}; expected some of {', '.join(EXTRAS)}")
    if "kl_ref" in names and ref is None:
        raise AssentError("the head was asked for kl_ref without a reference; pass ref=(head, hidden)")
    if hidden.dim() != 2 or targets.shape != hidden.shape[:1] or (ref is not None and len(ref[1]) != len(hidden)):
        shapes = f"{tuple(hidden.shape)} and targets {tuple(targets.shape)}"
        raise AssentError(f"the head was given hidden states {shapes}; expected [T, d] and [T], one T for all")
    return names


def _runs(module: nn.Module, kind: type[nn.Module]) -> bool:
    """Whether the module's forward is that of kind: FSDP2 gives modules a class of its own, with the forward kept."""
    return isinstance(module, kind) and type(module).forward is kind.forward and "forward" not in vars(module)


def _is_linear(module: nn.Module) -> bool:
    """Whether the module's forward is that of nn.Linear, on weights that can be sliced once they are gathered."""
    if not _runs(module, nn.Linear):
        return False
    weight = module.weight
    return type(weight) in (Tensor, nn.Parameter) or hasattr(weight, "to_local")  # a shard; not a quantised subclass


@contextlib.contextmanager
def _bound(module: nn.Module, forward: Callable[..., Any]) -> Iterator[None]:
    """Another forward on this one instance for a while."""
    before = vars(module).get("forward")
    module.forward = forward
    try:
        yield
    finally:
        if before is None:
            del module.forward
        else:
            module.forward = before


def _through(modules: tuple[nn.Module, ...], function: Callable[..., Any], *inputs: Tensor) -> Any:
    """function(*inputs), run as the forward of each module, the first outermost: weights are gathered by their hooks."""
    if not modules:
        return function(*inputs)
    with _bound(modules[0], lambda *args: _through(modules[1:], function, *args)):
        return modules[0](*inputs)


def _enter(head: LinearHead, hidden: Tensor, function: Callable[..., Any]) -> Any:
    """function(hidden, weight, bias, low-rank input, B), where every module that owns one of them has been entered."""
    linear, lora_a, lora_b = head.linear, head.lora_a, head.lora_b

    def inside(hidden: Tensor) -> Any:
        if lora_a is None:
            return _through((linear,), lambda h: function(h, linear.weight, linear.bias, None, None), hidden)
        low = lora_a(hidden.to(lora_a.weight.dtype)) * head.scaling
        return _through(
            (lora_b, linear), lambda h, u: function(h, linear.weight, linear.bias, u, lora_b.weight), hidden, low
        )

    return _through(head.around, inside, hidden)


def _by_chunks(
    head: nn.Module, hidden: Tensor, targets: Tensor, plan: Plan, ref: tuple[nn.Module, Tensor] | None
) -> tuple[Tensor, ...]:
    """The values with a head of any kind, a chunk of tokens at a time; its logits are computed again in the backward."""
    width = getattr(head, "out_features", None)
    if width is None:
        with torch.no_grad():
            width = head(hidden[:1]).shape[1]
    rows = max(1, plan.chunk_elements // width)

    def values(hidden: Tensor, targets: Tensor, ref_hidden: Tensor | None) -> tuple[Tensor, ...]:
        reference = None
        if ref is not None:
            with torch.no_grad():
                reference = plan.shaped(ref[0](ref_hidden))
        return _chunk_values(plan.shaped(head(hidden)), targets, reference, plan.wanted)

    ref_chunks = [None] * len(targets.split(rows)) if ref is None else ref[1].detach().split(rows)
    parts = []
    for inputs in zip(hidden.split(rows), targets.split(rows), ref_chunks, strict=True):
        parts.append(checkpoint(values, *inputs, use_reentrant=False) if plan.grad else values(*inputs))
    return tuple(torch.cat(column) for column in zip(*parts, strict=True))
