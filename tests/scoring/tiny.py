"""Tiny random models of four real architectures, token rows, and the oracle: one unpadded sequence at a time, float64."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

VOCABULARY = 37
ARCHITECTURES = ("llama", "qwen2", "gpt2", "gemma2")


def tiny_model(architecture: str = "llama", dtype: torch.dtype = torch.float32, seed: int = 0) -> Any:
    """A random model of a real class with about 10,000 parameters; spread out so that its log-probabilities differ."""
    from transformers import AutoModelForCausalLM, Gemma2Config, GPT2Config, LlamaConfig, Qwen2Config

    common = {"vocab_size": VOCABULARY, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2}
    sizes = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4}
    sizes |= {"num_key_value_heads": 2, "max_position_embeddings": 64, "initializer_range": 0.3}
    if architecture == "llama":
        config = LlamaConfig(**common, **sizes, attention_dropout=0.1)
    elif architecture == "qwen2":
        config = Qwen2Config(**common, **sizes, tie_word_embeddings=True)
    elif architecture == "gemma2":
        config = Gemma2Config(**common, **sizes, head_dim=4, sliding_window=8, final_logit_softcapping=3.0)
    else:
        config = GPT2Config(**common, n_embd=16, n_layer=2, n_head=4, n_positions=64, initializer_range=0.3)
    torch.manual_seed(seed)
    return AutoModelForCausalLM.from_config(config).to(dtype).eval()


@dataclass(frozen=True)
class Sequence:
    ids: np.ndarray
    prompt_length: int
    mask: np.ndarray


@dataclass(frozen=True)
class Row:
    chosen: Sequence
    rejected: Sequence
    weight: float = 1.0
    target: float = 1.0
    labels: tuple = ()
    columns: dict = field(default_factory=dict)
    index: int = 0


@dataclass(frozen=True)
class ExampleRow:
    sequence: Sequence
    weight: float = 1.0
    label: bool | None = None
    index: int = 0
    columns: dict = field(default_factory=dict)


def sequence(rng: np.random.Generator, prompt: np.ndarray, completion: int, holes: bool = False) -> Sequence:
    """A prompt and a random completion; with holes, about a third of the completion does not count."""
    ids = np.concatenate([prompt, rng.integers(3, VOCABULARY, completion)]).astype(np.int32)
    mask = np.arange(len(ids)) >= len(prompt)
    if holes:
        mask &= (rng.random(len(ids)) < 0.67) | (np.arange(len(ids)) == len(ids) - 1)
    return Sequence(ids, len(prompt), mask)


def pair_rows(count: int, seed: int = 0, holes: bool = False) -> list[Row]:
    """Pairs with prompts of 1 to 9 tokens and completions of 1 to 12."""
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(count):
        prompt = rng.integers(3, VOCABULARY, rng.integers(1, 10)).astype(np.int32)
        sides = [sequence(rng, prompt, int(rng.integers(1, 13)), holes) for _ in range(2)]
        labels = tuple((int(rng.integers(0, 3)), float(rng.integers(0, 2)), 1.0, False) for _ in range(1 + i % 2))
        rows.append(
            Row(*sides, weight=float(len(labels)), target=0.75, labels=labels, columns={"margin": i / 2}, index=i)
        )
    return rows


def oracle(model: Any, one: Sequence) -> torch.Tensor:
    """Log-probabilities of the counted tokens, float64, one unpadded sequence and one token at a time."""
    with torch.no_grad():
        logits = model.double()(input_ids=torch.tensor(one.ids[None].astype(np.int64)), use_cache=False).logits[0]
    values = []
    for place in range(len(one.ids)):
        if one.mask[place]:
            scores = logits[place - 1]
            values.append(scores[int(one.ids[place])] - scores.exp().sum().log())
    return torch.stack(values)
