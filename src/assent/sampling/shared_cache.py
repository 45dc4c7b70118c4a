"""Decoding in which all completions of a prompt read its keys and values from one place.

A copy of the prompt's cache for every completion, which grows by a copy of itself with every token, is what most of the time
of decoding in groups goes into; here the prompt's part is kept once a group and a completion's own part is written in place.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, DynamicCache

NAME = "assent_decode"
_decoding: ContextVar[SharedCache | None] = ContextVar("decoding", default=None)


class SharedCache(DynamicCache):
    """Keys and values of G prompts, once each, and of the tokens that n completions have had since.

    prompts: the filled cache of the prompts [G, H_kv, P, D], padded on the right.  lengths [G]: their tokens.
    repeats: completions of each prompt.  longest: most tokens of a completion.
    """

    def __init__(self, config: Any, prompts: DynamicCache, lengths: Tensor, repeats: int, longest: int) -> None:
        super().__init__(config=config)
        self.prompt = [(layer.keys, layer.values) for layer in prompts.layers]
        self.place = torch.arange(self.prompt[0][0].shape[2], device=lengths.device)
        self.hidden = self.place >= lengths[:, None]
        self.lengths, self.longest, self.written = lengths, longest, 0
        self.own: list[tuple[Tensor, Tensor] | None] = [None] * len(self.prompt)
        self.layer = 0
        self._rows(torch.arange(len(lengths), device=lengths.device).repeat_interleave(repeats))

    def _rows(self, group: Tensor) -> None:
        """Whose prompt each completion has [n], ascending, and its place among that prompt's."""
        self.group = group
        counts = torch.bincount(group, minlength=len(self.lengths))
        self.slot = torch.arange(len(group), device=group.device) - (counts.cumsum(0) - counts)[group]
        self.most = int(counts.max())

    def keep(self, rows: Tensor) -> None:
        """Go on with some of the completions."""
        self.own = [None if kv is None else (kv[0][rows], kv[1][rows]) for kv in self.own]
        self._rows(self.group[rows])

    def get_seq_length(self, layer_idx: int = 0) -> int:
        return self.hidden.shape[1] + self.written

    def update(
        self, key_states: Tensor, value_states: Tensor, layer_idx: int, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Write one token's keys and values [n, H_kv, 1, D] of a layer; give the completions' own so far."""
        self.layer = layer_idx
        kv = self.own[layer_idx]
        if kv is None:
            room = (*key_states.shape[:2], self.longest)
            kv = self.own[layer_idx] = tuple(x.new_empty((*room, x.shape[-1])) for x in (key_states, value_states))
        kv[0][:, :, self.written] = key_states[:, :, 0]
        kv[1][:, :, self.written] = value_states[:, :, 0]
        return kv[0][:, :, : self.written + 1], kv[1][:, :, : self.written + 1]

    def unseen(self, window: int | None) -> tuple[Tensor, Tensor | None]:
        """Which prompt tokens [n, P] and own tokens [n, t] the next token does not see; None where it sees all its own."""
        hidden = self.hidden[self.group]
        if window is None:
            return hidden, None
        now = (self.lengths[self.group] + self.written)[:, None]
        own = self.lengths[self.group][:, None] + torch.arange(self.written + 1, device=now.device)
        return hidden | (now - self.place >= window), now - own >= window

    def grid(self, x: Tensor) -> Tensor:
        """Rows [n, ...] as [G, most, ...], zeros where a prompt has fewer."""
        return x.new_zeros(len(self.lengths), self.most, *x.shape[1:]).index_put((self.group, self.slot), x)

    def rows_of(self, x: Tensor) -> Tensor:
        """The other way round."""
        return x[self.group, self.slot]


@contextlib.contextmanager
def decoding(inner: nn.Module, cache: SharedCache) -> Iterator[None]:
    """The model's attention reads this cache for a while."""
    AttentionInterface.register(NAME, shared_attention)
    AttentionMaskInterface.register(NAME, _no_mask)
    before = inner.config._attn_implementation
    inner.set_attn_implementation(NAME)
    token = _decoding.set(cache)
    try:
        yield
    finally:
        _decoding.reset(token)
        inner.set_attn_implementation(before)


def _no_mask(*args: Any, **kwargs: Any) -> None:
    """The cache knows who sees whom."""


def shared_attention(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, *,
    scaling: float | None = None, sliding_window: int | None = None, softcap: float | None = None, **kwargs: Any,
) -> tuple[Tensor, None]:  # fmt: skip
    """One token's attention.  query [n, H, 1, D]; key, value [n, H_kv, t, D], its own so far -> [n, 1, H, D]."""
    cache = _decoding.get()
    n, heads, _, width = query.shape
    kv_heads = key.shape[1]
    scale = width**-0.5 if scaling is None else scaling
    prompt_key, prompt_value = cache.prompt[cache.layer]
    asked = query.view(n, kv_heads, heads // kv_heads, width) * scale  # the heads that share keys stand together
    grid = _by_prompt(cache, asked)
    scores = _by_row(cache, grid @ prompt_key.transpose(-1, -2), kv_heads)
    own = asked @ key.transpose(-1, -2)
    hidden, old = cache.unseen(sliding_window)
    if softcap is not None:
        scores, own = (softcap * torch.tanh(x / softcap) for x in (scores, own))
    scores = scores.masked_fill(hidden[:, None, None], float("-inf"))
    if old is not None:
        own = own.masked_fill(old[:, None, None], float("-inf"))
    exact = torch.promote_types(query.dtype, torch.float32)
    weights = torch.cat([scores, own], -1).softmax(-1, dtype=exact).to(query.dtype)
    first, second = weights.split([scores.shape[-1], own.shape[-1]], -1)
    out = _by_row(cache, _by_prompt(cache, first) @ prompt_value, kv_heads) + second @ value
    return out.reshape(n, 1, heads, -1), None


def _by_prompt(cache: SharedCache, x: Tensor) -> Tensor:
    """[n, H_kv, r, K] -> [G, H_kv, r * most, K]: all rows of a prompt in one product."""
    return cache.grid(x).permute(0, 2, 3, 1, 4).flatten(2, 3)


def _by_row(cache: SharedCache, x: Tensor, kv_heads: int) -> Tensor:
    """[G, H_kv, r * most, K] -> [n, H_kv, r, K]."""
    return cache.rows_of(x.unflatten(2, (-1, cache.most)).permute(0, 3, 1, 2, 4))
