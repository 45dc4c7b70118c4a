"""Sampling in groups beside transformers' own ``generate``: 16 prompts of 256 tokens, 8 samples of 64 tokens each.

``python benchmarks/generation.py [--repeats 3] [--json]``: a random Llama (6 layers x 256, V 32,000), processor's time, the two
in turn in one process and with one thread.
"""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

import numpy as np
import torch

from assent.sampling import ModelGenerator, SamplingSettings

PROMPTS, SAMPLES, LENGTH, NEW = 16, 8, 256, 64


def model() -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    return LlamaForCausalLM(LlamaConfig(
        vocab_size=32_000, hidden_size=256, intermediate_size=688, num_hidden_layers=6, num_attention_heads=8,
        num_key_value_heads=8, max_position_embeddings=1024,
    )).eval()  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    lm, rng = model(), np.random.default_rng(0)
    prompts = [rng.integers(3, 32_000, LENGTH).astype(np.int32) for _ in range(PROMPTS)]
    ids = torch.tensor(np.stack(prompts), dtype=torch.long)
    options = {"do_sample": True, "num_return_sequences": SAMPLES, "max_new_tokens": NEW, "min_new_tokens": NEW,
               "top_k": 0, "pad_token_id": 0}  # fmt: skip
    taken: dict[str, list[float]] = {"assent": [], "transformers": []}
    for repeat in range(asked.repeats):
        start = time.thread_time()
        made = ModelGenerator(lm, frozenset()).generate(
            prompts, SAMPLES, SamplingSettings(max_new_tokens=NEW, seed=repeat)
        )
        taken["assent"].append(time.thread_time() - start)
        assert sum(map(len, made)) == PROMPTS * SAMPLES * NEW
        start = time.thread_time()
        with torch.no_grad():
            lm.generate(ids, attention_mask=torch.ones_like(ids), **options)
        taken["transformers"].append(time.thread_time() - start)
    seconds = {name: float(np.median(values)) for name, values in taken.items()}
    ratio = seconds["transformers"] / seconds["assent"]
    if asked.json:
        print(json.dumps({"schema": 1, "seconds": taken, "ratio": ratio}))
        return
    print(f"{PROMPTS} prompts of {LENGTH} tokens, {SAMPLES} samples of {NEW} tokens each, {asked.repeats} repeats")
    for name, value in seconds.items():
        print(f"{name:<13} {value:6.2f} s  {PROMPTS * SAMPLES * NEW / value:8,.0f} tokens/s")
    print(f"{ratio:.2f} times as fast")


if __name__ == "__main__":
    main()
