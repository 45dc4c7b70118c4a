"""Groups on trees against the plain path with the same chunked head: what sharing a long prompt brings by itself."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from assent.data.tokens import TokenSequence
from assent.scoring.engine import prepare, values
from assent.scoring.head import head_values
from assent.scoring.tree import pack

COMPLETIONS, COMPLETION, PROMPT = 8, 64, 512


def measure(folder: Path, steps: int, warm_up: int, threads: int, seed: int) -> dict[str, Any]:
    """Seconds of an optimiser step on one group, both ways in turn on models that start alike; values must agree."""
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(threads)
    random = np.random.default_rng(seed)
    weight = torch.from_numpy(random.standard_normal(COMPLETIONS * COMPLETION)).float() / COMPLETION
    ways = {}
    for name, score in (("trees", _on_trees), ("plain", _plainly)):
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).train()
        if name == "trees" and (reason := prepare(model)):
            raise SystemExit(f"the model takes no trees: {reason}")
        ways[name] = (model, torch.optim.AdamW(model.parameters(), lr=1e-5, fused=True), score)
    taken: dict[str, list[float]] = {name: [] for name in ways}
    gap = 0.0
    for number in range(warm_up + steps):
        sequences, found = _group(model.config.vocab_size, random), {}
        for name in list(ways)[:: 1 if number % 2 else -1]:
            start = time.perf_counter()
            found[name] = _step(*ways[name], sequences, weight)
            taken[name].append(time.perf_counter() - start)
        gap = max(gap, (found["trees"] - found["plain"]).abs().max().item())
    least = {name: min(seconds[warm_up:]) for name, seconds in taken.items()}
    return {
        "seconds": least,
        "speedup_plain": least["plain"] / least["trees"],
        "largest_difference": gap,
        "rounds": taken,
    }


def _step(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    score: Callable[..., Tensor],
    sequences: list[Any],
    weight: Tensor,
) -> Tensor:
    """Scores, their gradient and the optimiser's step; the log-probabilities [T] in nats."""
    logp = score(model, sequences)
    (logp * weight).sum().backward()
    optimizer.step()
    optimizer.zero_grad()
    return logp.detach()


def _group(vocabulary: int, random: np.random.Generator) -> list[TokenSequence]:
    prompt = random.integers(3, vocabulary, PROMPT)
    ids = [np.concatenate([prompt, random.integers(3, vocabulary, COMPLETION)]) for _ in range(COMPLETIONS)]
    return [TokenSequence(i.astype(np.int32), PROMPT, np.arange(len(i)) >= PROMPT) for i in ids]


def _on_trees(model: nn.Module, sequences: list[TokenSequence]) -> Tensor:
    return values(model, pack(sequences, [range(len(sequences))])).logp


def _plainly(model: nn.Module, sequences: list[TokenSequence]) -> Tensor:
    """Each completion with its prompt as a sequence of its own, and the chunked head at the completion tokens."""
    ids = torch.from_numpy(np.stack([s.ids for s in sequences]).astype(np.int64))
    hidden = model.base_model(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False)[0]
    hidden = hidden[:, PROMPT - 1 : -1].flatten(0, 1)
    return head_values(model.get_output_embeddings(), hidden, ids[:, PROMPT:].flatten()).logp
