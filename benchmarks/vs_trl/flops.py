"""Model FLOPs of a step, and how fast this machine multiplies matrices of the same shapes.

Six FLOPs per trunk weight and tree token, six per weight of the output layer and completion token, twelve per channel of
every allowed pair of query and key in every layer; what is computed a second time is not counted.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

REPEATS = 3

Lengths = Sequence[tuple[int, int, int]]
"""(prompt, chosen, rejected) tokens of pairs."""


def shapes(model: nn.Module) -> dict[str, Any]:
    """What the count needs of a model: the trunk's matrices (out, in) with how often each occurs, the head, attention."""
    head = model.get_output_embeddings()
    config = model.config
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    found = Counter(tuple(m.weight.shape) for m in model.modules() if isinstance(m, nn.Linear) and m is not head)
    return {
        "trunk": sorted(found.items()), "head": tuple(head.weight.shape), "layers": config.num_hidden_layers,
        "attention": width * config.num_attention_heads,
    }  # fmt: skip


def model_flops(shape: dict[str, Any], lengths: Lengths) -> float:
    """FLOPs of forward and backward pass over trees of these lengths."""
    trunk = sum(count * out * inside for (out, inside), count in shape["trunk"])
    vocabulary, width = shape["head"]
    total = 0.0
    for prompt, *branches in lengths:
        pairs = prompt * (prompt + 1) / 2 + sum(b * prompt + b * (b + 1) / 2 for b in branches)
        total += 6 * trunk * (prompt + sum(branches)) + 6 * width * vocabulary * sum(branches)
        total += 12 * shape["attention"] * shape["layers"] * pairs
    return total


def gemm_rate(shape: dict[str, Any], lengths: Lengths, steps: int, threads: int) -> float:
    """FLOPs a second over all products of a step: of each matrix forward, for its input's gradient and for its own.

    lengths: of the pairs of so many steps; products have the mean step's tokens.  The least of some repeats is taken.
    """
    tokens = round(sum(sum(pair) for pair in lengths) / steps)
    counted = round(sum(sum(pair[1:]) for pair in lengths) / steps)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    flops = seconds = 0.0
    try:
        for (out, inside), count, rows in [*((s, n, tokens) for s, n in shape["trunk"]), (shape["head"], 1, counted)]:
            x, w, g = torch.randn(rows, inside), torch.randn(out, inside), torch.randn(rows, out)
            for a, b in ((x, w.t()), (g, w), (g.t(), x)):
                seconds += count * _least(a, b)
                flops += count * 2 * rows * out * inside
    finally:
        torch.set_num_threads(before)
    return flops / seconds


def _least(a: torch.Tensor, b: torch.Tensor) -> float:
    result = torch.empty(a.shape[0], b.shape[1])
    taken = []
    for _ in range(REPEATS + 1):
        start = time.perf_counter()
        torch.mm(a, b, out=result)
        taken.append(time.perf_counter() - start)
    return min(taken[1:])


def load_shapes(folder: Path) -> dict[str, Any]:
    """``shapes`` of a model's directory, without its weights."""
    from transformers import AutoConfig, AutoModelForCausalLM

    with torch.device("meta"):
        return shapes(AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder)))
