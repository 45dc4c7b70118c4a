"""Exact inner products of single gradients from one forward and one backward pass over a batch.

Hooks keep what each layer with trainable parameters read and the gradient of what it gave; `ghost` makes the inner products
of them.  Linear layers and embeddings are known, tied ones and LoRA's included; any other layer of one tensor is
differentiated by itself, sequence by sequence.  A pair is tried first against two plain backward passes, parameter by
parameter: a model whose parameters work otherwise (fused experts, mixing between sequences) is left to the loop.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vjp, vmap

from assent.diagnostics import ghost, gradients_loop
from assent.diagnostics.entanglement import PairGradients
from assent.diagnostics.ghost import Tokens, Use, Whole
from assent.diagnostics.gradients_loop import Grams, Named, gradient, trainable
from assent.diagnostics.gradients_vmap import inputs_of
from assent.scoring.batch import Batch, collate
from assent.scoring.forward import _takes_logits_to_keep, at_least_float32, causal_lm_of, device_of

TOKENS = 1024
"""Most tokens of a batch, where more than one pair is in it."""

LOGITS = 1 << 26
"""Most logits of a batch, likewise."""

ELEMENTS = 1 << 26
"""Most numbers of single gradients of a layer that is differentiated by itself."""

_TOLERANCE = {torch.float64: 1e-6, torch.float32: 1e-3}
_HALF_TOLERANCE = 0.1
"""Largest error of a parameter's inner products on the trial pair, relative to its norms."""


class Unsuited(Exception):
    """Why the layers of a model do not tell its gradients."""


def grams(
    model: nn.Module, rows: Sequence[Any], pad_token_id: int, factors: Named | None = None,
    direction: Named | None = None,
) -> Grams:  # fmt: skip
    """Gram matrices of the pairs, as ``gradients_loop.grams`` gives them, which is also what runs where layers do not do."""
    try:
        _try(model, rows[0], pad_token_id)
        return _by_layers(model, rows, pad_token_id, factors, direction)
    except Unsuited:
        return gradients_loop.grams(model, rows, pad_token_id, factors, direction)


def _by_layers(
    model: nn.Module, rows: Sequence[Any], pad_token_id: int, factors: Named | None, direction: Named | None
) -> Grams:
    """Pairs of like length are run together."""
    longest = torch.tensor([max(len(row.chosen.ids), len(row.rejected.ids)) for row in rows])
    order = longest.argsort(stable=True)
    room = min(TOKENS, LOGITS // causal_lm_of(model).get_output_embeddings().weight.shape[0])
    parts, start = [], 0
    while start < len(rows):
        widths = longest[order[start:]] * 2 * torch.arange(1, len(rows) - start + 1)
        stop = start + max(1, int((widths <= room).sum()))
        gram = along = 0.0
        for _, g, a in _parameters(model, [rows[i] for i in order[start:stop]], pad_token_id, factors, direction):
            gram, along = gram + g, along if a is None else along + a
        parts.append(Grams(gram, None if direction is None else along))
        start = stop
    return Grams.joined(parts).at(order.argsort().tolist())


def _parameters(
    model: nn.Module, rows: Sequence[Any], pad_token_id: int, factors: Named | None = None,
    direction: Named | None = None,
) -> Iterator[tuple[str, Tensor, Tensor | None]]:  # fmt: skip
    """Name, gram [P, 2, 2] and product with the direction [P, 2] of every trainable parameter that the pairs reach."""
    uses = _uses(model, rows, pad_token_id)
    for name, p in trainable(model).items():
        if own := uses.pop(id(p), None):
            pick = [None if given is None else given[name].detach() for given in (factors, direction)]
            yield name, *ghost.gram(own, p.shape, *pick)


@torch.no_grad()
def _uses(model: nn.Module, rows: Sequence[Any], pad_token_id: int) -> dict[int, list[Use]]:
    """How each trainable parameter was used in one pass over the pairs, by its id."""
    batch = collate([s for row in rows for s in (row.chosen, row.rejected)], pad_token_id, device_of(model))
    with torch.enable_grad(), _recorded(model) as calls:
        logits, places = logits_of(model, batch)
    start = logits.new_zeros(logits.shape)
    start[places] = slopes_of(logits[places], batch.target).to(logits)
    outputs = [out for _, _, out in calls]
    back = torch.autograd.grad(logits, outputs, start, allow_unused=True) if outputs else ()
    found: dict[int, list[Use]] = {}
    for (module, read, _), slope in zip(calls, back, strict=True):
        for p, use in () if slope is None else _of_call(module, read, slope, batch.ids.shape):
            found.setdefault(id(p), []).append(use)
    return found


def logits_of(model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
    """Logits [N, V], and which of them [T] predict the counted tokens."""
    inputs = inputs_of(model, batch)
    if _takes_logits_to_keep(model):
        return model(**inputs, logits_to_keep=batch.kept).logits.flatten(0, 1), batch.flat
    width = batch.ids.shape[1]
    return model(**inputs).logits.flatten(0, 1), batch.row * width + batch.position - 1


def slopes_of(logits: Tensor, target: Tensor) -> Tensor:
    """d log p(target) / d logits [T, V] = e_y - p, from detached logits [T, V], in float32 at least."""
    slopes = at_least_float32(logits.detach()).softmax(1).neg_()
    slopes[torch.arange(len(slopes), device=slopes.device), target] += 1.0
    return slopes


Call = tuple[nn.Module, Tensor, Tensor]
"""A module that ran, what it read and what it gave."""


@contextlib.contextmanager
def _recorded(model: nn.Module) -> Iterator[list[Call]]:
    """The calls of all modules that own a trainable parameter."""
    calls: list[Call] = []

    def keep(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> None:
        read = (*args, *kwargs.values())
        if not isinstance(out, Tensor) or len(read) != 1 or not isinstance(read[0], Tensor):
            raise Unsuited(f"{type(module).__name__} does not go from one tensor to one tensor")
        if out.requires_grad:
            calls.append((module, read[0].detach(), out))

    own = [m for m in model.modules() if any(p.requires_grad for p in m.parameters(recurse=False))]
    hooks = [module.register_forward_hook(keep, with_kwargs=True) for module in own]
    try:
        yield calls
    finally:
        for hook in hooks:
            hook.remove()


def _of_call(module: nn.Module, read: Tensor, slope: Tensor, shape: torch.Size) -> Iterator[tuple[nn.Parameter, Use]]:
    """The trainable parameters of a module that ran once on a batch of ids of this shape, each with its use."""
    sequences = shape[0]
    if read.dim() == slope.dim() == 2 and len(read) == len(slope) == shape.numel():  # OPT lays all tokens in one row
        read, slope = read.unflatten(0, shape), slope.unflatten(0, shape)
    if slope.shape[0] != sequences or read.shape[0] != sequences:
        raise Unsuited(f"{type(module).__name__} does not keep sequences apart")
    if isinstance(module, nn.Embedding):
        slope = at_least_float32(slope) * getattr(module, "embed_scale", 1.0)  # Gemma's lies inside the module
        if module.padding_idx is not None:
            slope = slope * (read != module.padding_idx)[..., None]
        yield module.weight, Tokens(_pairs(slope), read.unflatten(0, (-1, 2)))
    elif isinstance(module, nn.Linear) or _is_conv1d(module):
        a, b = _pairs(read), _pairs(slope)
        if module.weight.requires_grad:
            yield module.weight, Tokens(a, b) if isinstance(module, nn.Linear) else Tokens(b, a)
        if module.bias is not None and module.bias.requires_grad:
            yield module.bias, Whole(b.sum(2))
    else:
        own = {name: p.detach() for name, p in module.named_parameters(recurse=False) if p.requires_grad}
        if sequences * sum(p.numel() for p in own.values()) > ELEMENTS:
            raise Unsuited(f"{type(module).__name__} is too large to be differentiated by itself")
        for name, gradient in _differentiated(module, own, read, slope).items():
            yield module.get_parameter(name), Whole(at_least_float32(gradient).unflatten(0, (-1, 2)))


def _pairs(x: Tensor) -> Tensor:
    """[P, 2, T, width] of [2 P, ..., width]."""
    return at_least_float32(x).flatten(1, -2).unflatten(0, (-1, 2))


def _is_conv1d(module: nn.Module) -> bool:
    """Whether a module is GPT-2's linear layer, whose weight is [in, out]."""
    tools = sys.modules.get("transformers.pytorch_utils")
    return tools is not None and isinstance(module, tools.Conv1D)


def _differentiated(module: nn.Module, own: Named, read: Tensor, slope: Tensor) -> dict[str, Tensor]:
    """Gradients [2 P, ...] of a module's own parameters, one sequence at a time."""

    def one(x: Tensor, back: Tensor) -> dict[str, Tensor]:
        _, pull = vjp(lambda p: functional_call(module, p, (x[None],)), own)
        return pull(back[None])[0]

    try:
        return vmap(one)(read, slope)
    except (RuntimeError, TypeError, ValueError) as error:
        raise Unsuited(f"{type(module).__name__} cannot be differentiated by itself") from error


def _try(model: nn.Module, row: Any, pad_token_id: int) -> None:
    """Compare a pair with two plain backward passes, parameter by parameter; raises Unsuited where they differ."""
    told = {name: gram[0] for name, gram, _ in _parameters(model, [row], pad_token_id)}
    sides = [gradient(model, side, pad_token_id) for side in (row.chosen, row.rejected)]
    whole = PairGradients.of(*sides)
    for (name, p), *pair in zip(trainable(model).items(), *sides, strict=True):
        true = PairGradients.of(*([side] for side in pair))
        expected = torch.stack([true.chosen_sq, true.inner, true.inner, true.rejected_sq]).view(2, 2)
        found = told.get(name, torch.zeros(2, 2, dtype=torch.float64))
        share = _TOLERANCE.get(p.dtype, _HALF_TOLERANCE)
        # a bias that changes nothing, such as that of keys, has a gradient of rounding alone
        least = share**2 * torch.maximum(whole.chosen_sq, whole.rejected_sq)
        most = share * torch.maximum(expected.diagonal().max(), least)
        if not bool(((found - expected).abs() <= most).all()):
            raise Unsuited(f"{name} has another gradient than its layer tells")
