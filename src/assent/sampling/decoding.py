"""Token by token with a key-value cache: prompts run once, their completions share them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext

import numpy as np
import torch
from torch import Tensor, nn

from assent.sampling.shared_cache import SharedCache, decoding
from assent.scoring.engine import VERIFIED, unsuited
from assent.scoring.forward import causal_lm_of, device_of


def shares_prompts(model: nn.Module) -> bool:
    """Whether completions can read one copy of their prompt: a family whose attention is tested for it."""
    inner = causal_lm_of(model)
    return getattr(inner.config, "model_type", "") in VERIFIED and not unsuited(model, inner, bound=True)


class Decoder:
    """A model at the end of each prompt, ``repeats`` times, ready for one token after the other.

    prompts: token ids; without sharing all of one length.  longest: most tokens that follow.
    shared: completions read one copy of their prompt; otherwise each has its own, as transformers' ``generate`` does.
    """

    def __init__(
        self, model: nn.Module, prompts: Sequence[np.ndarray], repeats: int, longest: int, shared: bool | None = None
    ) -> None:
        from transformers import DynamicCache

        self.model, device = model, device_of(model)
        self.inner = causal_lm_of(model)
        lengths = np.array(list(map(len, prompts)))
        ids = np.zeros((len(prompts), lengths.max()), dtype=np.int64)
        for i, prompt in enumerate(prompts):  # padding on the right, where no prompt looks: no mask is needed
            ids[i, : len(prompt)] = prompt
        self.cache = DynamicCache()
        last, place = np.unique(lengths - 1, return_inverse=True)
        out = self._run(torch.from_numpy(ids).to(device), None, torch.from_numpy(last).to(device))
        first = out[torch.arange(len(prompts), device=device), torch.from_numpy(place).to(device)]
        self._logits = first.repeat_interleave(repeats, 0)
        length = torch.from_numpy(lengths).to(device)
        self.position = length.repeat_interleave(repeats, 0)
        self.shared = shares_prompts(model) if shared is None else shared
        if self.shared:
            self.cache = SharedCache(self.inner.config, self.cache, length, repeats, longest)
        elif len(last) > 1:
            raise ValueError("prompts of several lengths need a shared cache")
        elif repeats > 1:
            self.cache.batch_repeat_interleave(repeats)

    def _run(self, ids: Tensor, position: Tensor | None, keep: int | Tensor) -> Tensor:
        return self.model(
            input_ids=ids, position_ids=position, past_key_values=self.cache, use_cache=True, logits_to_keep=keep
        ).logits

    def logits(self) -> Tensor:
        """Next-token logits [n, V] of the sequences that are left."""
        return self._logits

    def step(self, token: Tensor, kept: Tensor | None = None) -> None:
        """Append one token [n] to each of the sequences ``kept`` (places among those left; None for all)."""
        if kept is not None:
            self.position = self.position[kept]
            self.cache.keep(kept) if self.shared else self.cache.batch_select_indices(kept)
        with decoding(self.inner, self.cache) if self.shared else nullcontext():
            self._logits = self._run(token[:, None], self.position[:, None], 1)[:, -1]
        if self.shared:
            self.cache.written += 1
        self.position = self.position + 1
