"""How the cost of a step grows with prompt length, completions a prompt and vocabulary, on trees and on the padded path.

python benchmarks/growth.py [--threads 1] [--repeats 3] [--json]

Processor seconds of scoring and gradient (no reference, no optimiser) for 4 prompts with completions of 64 tokens, the least of
the repeats, both paths in turn.  Llama of 6 layers x 256.
"""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

import numpy as np
import torch

from assent.data.tokens import TokenGroup, TokenSequence
from assent.scoring import engine
from assent.scoring.causal_lm import CausalLMScorer

COMPLETION, PROMPTS = 64, 4
START = {"prompt": 192, "completions": 2, "vocabulary": 32_000}
SWEEPS = {"prompt": (16, 192, 448, 960), "completions": (1, 2, 4, 8), "vocabulary": (8_000, 32_000, 128_000)}


def model(vocabulary: int) -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=vocabulary, hidden_size=256, intermediate_size=688, num_hidden_layers=6, num_attention_heads=4,
            num_key_value_heads=4, max_position_embeddings=2048, use_cache=False,
        )
    )  # fmt: skip


def rows(prompt: int, completions: int, vocabulary: int) -> list[TokenGroup]:
    """Groups of random completions, a score each."""
    rng = np.random.default_rng(0)
    found = []
    for i in range(PROMPTS):
        shared = rng.integers(4, vocabulary, prompt)
        sides = [np.concatenate([shared, rng.integers(4, vocabulary, COMPLETION)]) for _ in range(max(completions, 1))]
        mask = np.arange(prompt + COMPLETION) >= prompt
        sequences = tuple(TokenSequence(ids.astype(np.int32), prompt, mask) for ids in sides)
        found.append(TokenGroup(sequences, tuple(range(len(sequences))), 1.0, i))
    return found


def seconds(scorer: CausalLMScorer, data: list[TokenGroup]) -> float:
    """Processor seconds of one scoring with its gradient."""
    start = time.process_time()
    scorer.scores(data, frozenset()).completions.logp.sum().backward()
    taken = time.process_time() - start
    scorer.model.zero_grad()
    return taken


def measure(shape: dict[str, int], repeats: int) -> dict[str, float]:
    """Least seconds of a step on both paths."""
    policy, data = model(shape["vocabulary"]), rows(**shape)
    if reason := engine.prepare(policy):
        raise SystemExit(reason)
    paths = {"trees": CausalLMScorer(policy, trees=True), "padded": CausalLMScorer(policy)}
    taken: dict[str, list[float]] = {name: [] for name in paths}
    for number in range(repeats + 1):
        for name, scorer in paths.items():
            spent = seconds(scorer, data)
            if number:
                taken[name].append(spent)
    return {name: min(values) for name, values in taken.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    found = {
        name: {str(value): measure(START | {name: value}, given.repeats) for value in values}
        for name, values in SWEEPS.items()
    }
    if given.json:
        print(json.dumps({"schema": 1, "threads": given.threads, "start": START, "seconds": found}))
        return
    for name, values in found.items():
        print(f"| {name} | trees (s) | padded (s) | padded over trees |\n|---|---|---|---|")
        for value, taken in values.items():
            print(
                f"| {value} | {taken['trees']:.2f} | {taken['padded']:.2f} | {taken['padded'] / taken['trees']:.2f} |"
            )


if __name__ == "__main__":
    main()
