"""From logits to tokens: the distribution that is drawn from, and draws that depend on the sequence alone."""

from __future__ import annotations

import hashlib

import numpy as np
import torch
from torch import Tensor

from assent.sampling.settings import SamplingSettings


def uniforms(prompt_ids: np.ndarray, sample: int, steps: int, seed: int) -> np.ndarray:
    """[steps] float64 in [0, 1) for one sequence: a function of the seed, the prompt and the sample's number."""
    digest = hashlib.blake2b(np.ascontiguousarray(prompt_ids, "<i8").tobytes(), digest_size=16)
    digest.update(f"{seed} {sample}".encode())
    return np.random.Generator(np.random.Philox(int.from_bytes(digest.digest(), "little"))).random(steps)


def shaped(log_probs: Tensor, settings: SamplingSettings) -> Tensor:
    """Log-probabilities [N, V] of the distribution that is drawn from: temperature, then top-k, then nucleus.

    Ties at a border all stay.  Temperature 0 puts all on the likeliest token, the first of equal ones.
    """
    if settings.temperature == 0:
        best = log_probs.argmax(-1, keepdim=True)
        return torch.full_like(log_probs, float("-inf")).scatter_(-1, best, 0.0)
    if settings.plain:
        return log_probs
    found = torch.log_softmax(log_probs / settings.temperature, -1)
    if 0 < settings.top_k < found.shape[-1]:
        found = found.masked_fill(found < found.topk(settings.top_k, -1).values[:, -1:], float("-inf"))
    if settings.top_p < 1:
        ordered = found.sort(-1, descending=True).values
        before = ordered.softmax(-1).cumsum(-1) - ordered.softmax(-1)  # what likelier tokens hold together
        last = (before < settings.top_p).sum(-1, keepdim=True) - 1
        found = found.masked_fill(found < ordered.gather(-1, last), float("-inf"))
    return torch.log_softmax(found, -1)


def choose(log_probs: Tensor, uniform: Tensor) -> Tensor:
    """One token [N] of each row by the inverse of its distribution function, from uniform numbers [N]."""
    cumulative = log_probs.double().exp().cumsum(-1)
    target = uniform.to(cumulative)[:, None] * cumulative[:, -1:]
    token = torch.searchsorted(cumulative, target, right=True).squeeze(-1)
    return token.clamp_max(log_probs.shape[-1] - 1)
