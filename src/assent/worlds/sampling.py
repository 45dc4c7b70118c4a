"""Samples of a tiny policy and its exact divergence from the reference at the sampled prefixes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

PAD, BOS, EOS, UNKNOWN = 0, 1, 2, 3


def gumbel(rows: int, steps: int, vocabulary: int, seed: int) -> Tensor:
    """Noise [rows, steps, vocabulary] for :func:`sample`; the same noise for two policies pairs their samples."""
    draw = torch.Generator().manual_seed(seed)
    uniform = torch.rand(rows, steps, vocabulary, generator=draw).clamp_(1e-20, 1 - 1e-7)
    return -torch.log(-torch.log(uniform))


@torch.no_grad()
def sample(model: Any, prompts: Tensor, noise: Tensor, temperature: float = 1.0) -> Tensor:
    """Completions [N, T], padded after the end of sequence, of prompts [N, S] without padding.

    noise [N, longest, V]: Gumbel noise; adding it and taking the largest is a draw from the softmax.  A completion
    that does not end within ``longest`` tokens is cut there and has no end token.
    """
    from transformers import DynamicCache

    cache = DynamicCache(config=model.config)
    rows, longest = noise.shape[:2]
    out = torch.full((rows, longest), PAD)
    alive = torch.ones(rows, dtype=torch.bool)
    step_input = prompts
    for step in range(longest):
        logits = model(input_ids=step_input, past_key_values=cache, use_cache=True, logits_to_keep=1).logits[:, -1]
        logits = logits.float() / temperature
        logits[:, [PAD, BOS, UNKNOWN]] = float("-inf")
        token = (logits + noise[:, step]).argmax(-1)
        out[:, step] = torch.where(alive, token, PAD)
        alive &= token != EOS
        if not alive.any():
            break
        step_input = token.unsqueeze(-1)
    return out


@torch.no_grad()
def prefix_kl(policy: Any, reference: Any, prompts: Tensor, completions: Tensor) -> Tensor:
    """KL(policy || reference) [N] in nats per sequence: the exact next-token KL, summed over the sampled prefixes.

    Its expectation over the policy's samples is the sequence KL; the sum over tokens is exact, only prefixes are drawn.
    """
    ids = torch.cat([prompts, completions], 1)
    keep = completions.shape[1]
    logp = _next_token(policy, ids, keep)
    log_ratio = logp - _next_token(reference, ids, keep)
    per_token = (logp.exp() * log_ratio).nan_to_num(0.0).sum(-1)
    return (per_token * (completions != PAD)).sum(-1)


def _next_token(model: Any, ids: Tensor, keep: int) -> Tensor:
    """Next-token log-probabilities [N, keep, V] at the last ``keep`` prefixes, without the tokens never sampled."""
    logits = model(input_ids=ids[:, :-1], use_cache=False, logits_to_keep=keep).logits.float()
    logits[..., [PAD, BOS, UNKNOWN]] = float("-inf")
    return torch.log_softmax(logits, -1)
