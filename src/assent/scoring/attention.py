"""Attention over packed prefix trees, registered with transformers as ``assent_tree``.

The tree travels as a keyword argument through the model to here.  Without one, function and mask are those of ``sdpa``.
Sliding windows and soft-caps are applied in tree positions; no mask is larger than one branch by its context.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from assent.scoring.tree import TreeBatch, sees

NAME = "assent_tree"
"""The name under which transformers knows the attention and the mask function."""


class _Layer(NamedTuple):
    """What a layer's attention is asked to be; the window in tree positions."""

    window: int | None
    softcap: float | None
    scale: float
    dropout: float


_tree_given: ContextVar[bool] = ContextVar("tree_given", default=False)


def register() -> None:
    """Make ``assent_tree`` known to transformers; doing it again changes nothing."""
    from transformers import AttentionInterface, AttentionMaskInterface

    AttentionInterface.register(NAME, tree_attention)
    AttentionMaskInterface.register(NAME, tree_mask)


@contextlib.contextmanager
def tree_given() -> Iterator[None]:
    """While a tree is scored: the model need not make a mask, which would be as large as the batch squared."""
    token = _tree_given.set(True)
    try:
        yield
    finally:
        _tree_given.reset(token)


def tree_mask(*args: Any, **kwargs: Any) -> Tensor | None:
    """The mask that ``sdpa`` would get; none where a tree tells who sees whom."""
    from transformers.masking_utils import sdpa_mask

    return None if _tree_given.get() else sdpa_mask(*args, **kwargs)


def tree_attention(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, *,
    dropout: float = 0.0, scaling: float | None = None, sliding_window: int | None = None, softcap: float | None = None,
    tree: TreeBatch | None = None, **kwargs: Any,
) -> tuple[Tensor, None]:  # fmt: skip
    """Attention of one layer.  query [1, H, N, D], key and value [1, H_kv, N, D] -> [1, N, H, D] and no weights.

    tree: the packed trees; None gives what ``sdpa`` gives (with a soft-cap, which ``sdpa`` refuses, what ``eager`` gives).
    """
    if tree is None:
        return _without_tree(module, query, key, value, attention_mask, dropout=dropout, scaling=scaling,
                             sliding_window=sliding_window, softcap=softcap, **kwargs)  # fmt: skip
    layer = _Layer(sliding_window, softcap, query.shape[-1] ** -0.5 if scaling is None else scaling, dropout)
    if query.is_cuda and not dropout:  # FlexAttention has no dropout
        out = flex(query, key, value, block_mask(tree, sliding_window), softcap, layer.scale, compiled=True)
        return out.transpose(1, 2).contiguous(), None
    return _by_branches(query, key, value, tree, layer), None


def _without_tree(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, *, softcap: float | None,
    scaling: float | None, **kwargs: Any,
) -> tuple[Tensor, None]:  # fmt: skip
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    if softcap is None:
        return sdpa_attention_forward(module, query, key, value, mask, scaling=scaling, **kwargs)
    groups = query.shape[1] // key.shape[1]
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    if mask is None and query.shape[2] > 1:  # the mask function left it to is_causal
        mask = causal(query.shape[2], key.shape[2], None, query.device)
    out = _capped(query, repeat(key, groups), repeat(value, groups), mask, softcap, scale, kwargs.get("dropout", 0.0))
    return out.transpose(1, 2).contiguous(), None


def causal(rows: int, columns: int, window: int | None, device: torch.device) -> Tensor:
    """[rows, columns] bool: the last ``rows`` places of ``columns``, each seeing itself and what is before it."""
    query = torch.arange(columns - rows, columns, device=device)[:, None]
    key = torch.arange(columns, device=device)[None, :]
    return (key <= query) if window is None else (key <= query) & (query - key < window)


def repeat(x: Tensor, groups: int) -> Tensor:
    """Key or value heads [1, H_kv, N, D] once for each of their query heads -> [1, H, N, D]."""
    return x if groups == 1 else x.repeat_interleave(groups, dim=1)


def _by_branches(query: Tensor, key: Tensor, value: Tensor, tree: TreeBatch, layer: _Layer) -> Tensor:
    """Tree by tree: prompt and longest branch together, causally; every further branch against [prompt, itself]."""
    groups = query.shape[1] // key.shape[1]
    # on CPU the kernel takes grouped heads, a tenth faster than repeated ones
    if layer.softcap is not None or query.device.type != "cpu":
        key, value = repeat(key, groups), repeat(value, groups)
    sizes = [size for span in tree.spans for size in span.sizes]
    parts = zip(query.split(sizes, 2), key.split(sizes, 2), value.split(sizes, 2), strict=True)
    out = []
    for span in tree.spans:
        for number in range(len(span.sizes)):
            q, k, v = next(parts)
            if number == 0:
                prompt = k[:, :, : span.prompt], v[:, :, : span.prompt]
            elif span.prompt:
                k, v = torch.cat([prompt[0], k], 2), torch.cat([prompt[1], v], 2)
            out.append(_attend(q, k, v, tree, layer))
    return torch.cat(out, 2).transpose(1, 2).contiguous()


def _attend(q: Tensor, k: Tensor, v: Tensor, tree: TreeBatch, layer: _Layer) -> Tensor:
    """The last places of a sequence (q) against the whole of it (k, v), in blocks of a window where there is one."""
    rows, columns, window = q.shape[2], k.shape[2], layer.window
    if window is None or columns <= window:
        whole = layer.softcap is None and rows == columns  # the kernel's own causal order, which needs no mask
        return _masked(q, k, v, None if whole else _mask(tree, rows, columns, None, q.device), layer)
    out = []
    for first in range(0, rows, window):
        block = q[:, :, first : first + window]
        last = columns - rows + first + block.shape[2]
        begin = max(0, last - block.shape[2] - window + 1)
        mask = _mask(tree, block.shape[2], last - begin, window, q.device)
        out.append(_masked(block, k[:, :, begin:last], v[:, :, begin:last], mask, layer))
    return torch.cat(out, 2)


def _mask(tree: TreeBatch, rows: int, columns: int, window: int | None, device: torch.device) -> Tensor:
    """A causal mask, made once for all layers of a batch."""
    found = tree.masks.get((rows, columns, window))
    if found is None:
        found = tree.masks[rows, columns, window] = causal(rows, columns, window, device)
    return found


def _masked(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, layer: _Layer) -> Tensor:
    """Attention under a mask; None is causal, and only without a soft-cap."""
    if layer.softcap is not None:
        return _capped(q, k, v, mask, layer.softcap, layer.scale, layer.dropout)
    return scaled_dot_product_attention(
        q, k, v, mask, layer.dropout, is_causal=mask is None, scale=layer.scale, enable_gqa=q.shape[1] != k.shape[1]
    )


def _capped(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, softcap: float, scale: float, dropout: float
) -> Tensor:
    """Attention with logits cap * tanh(logits / cap), to the last bit what ``eager`` computes, its float32 softmax included."""
    logits = softcap * torch.tanh((q @ k.transpose(2, 3)) * scale / softcap)
    if mask is not None:
        # the least number rather than -inf: a padding token sees nobody, and NaN would spread from there
        least = torch.finfo(logits.dtype).min
        logits = logits.masked_fill(~mask, least) if mask.dtype == torch.bool else logits + mask
    weights = logits.softmax(-1, dtype=torch.float32).to(q.dtype)
    return nn.functional.dropout(weights, dropout) @ v


BLOCK = 128
"""Tokens of a side of FlexAttention's blocks."""


def block_mask(tree: TreeBatch, window: int | None) -> Any:
    """FlexAttention's block mask of the trees, one for each window of the model, made once for all layers.

    Made a row of blocks at a time, so that a mask of all tokens by all tokens never exists.
    """
    from torch.nn.attention.flex_attention import BlockMask

    found = tree.masks.get(("block", window))
    if found is None:
        n = tree.tokens
        places = torch.arange(-(-n // BLOCK) * BLOCK, device=tree.ids.device)
        some, whole = [], []
        for query in places.split(BLOCK):
            seen = sees(tree, query[:, None].clamp(max=n - 1), places.clamp(max=n - 1), window)
            tiles = (seen & (query[:, None] < n) & (places < n)).view(BLOCK, -1, BLOCK)
            some.append(tiles.any(2).any(0))
            whole.append(tiles.all(2).all(0))
        full = torch.stack(whole)
        found = tree.masks["block", window] = BlockMask.from_kv_blocks(
            *_listed(torch.stack(some) & ~full), *_listed(full), BLOCK,
            lambda b, h, query, key: sees(tree, query, key, window), (n, n),
        )  # fmt: skip
    return found


def _listed(blocks: Tensor) -> tuple[Tensor, Tensor]:
    """[B, B] bool -> how many blocks each row has [1, 1, B], and which, those first [1, 1, B, B], as int32."""
    order = blocks.int().argsort(dim=1, descending=True, stable=True)
    return blocks.sum(1, dtype=torch.int32)[None, None], order.int()[None, None]


_compiled: list[Any] = []


def flex(
    query: Tensor, key: Tensor, value: Tensor, mask: Any, softcap: float | None, scale: float, *, compiled: bool
) -> Tensor:
    """FlexAttention under a block mask, with a soft-cap where there is one -> [1, H, N, D]."""
    from torch.nn.attention.flex_attention import flex_attention

    run = flex_attention
    if compiled:
        if not _compiled:
            _compiled.append(torch.compile(flex_attention, dynamic=True))
        run = _compiled[0]
    cap = None if softcap is None else lambda score, b, h, q, k: softcap * torch.tanh(score / softcap)
    grouped = query.shape[1] != key.shape[1]
    return run(query, key, value, score_mod=cap, block_mask=mask, scale=scale, enable_gqa=grouped)
