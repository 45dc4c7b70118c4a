"""The verified families as tiny models, their windows shorter than the prompts; random rows of trees; float64 throughout."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st
from tiny import VOCABULARY, Sequence
from torch.overrides import TorchFunctionMode, _get_current_function_mode_stack

from assent.scoring.batch import collate
from assent.scoring.forward import kept_logits, token_values

WINDOW = 5
COMMON = {"vocab_size": VOCABULARY, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2}
SIZES = {
    "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 64, "initializer_range": 0.3,
}  # fmt: skip
MIXED = ["sliding_attention", "full_attention"]
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("LlamaConfig", {}),
    "qwen2": ("Qwen2Config", {"use_sliding_window": True, "sliding_window": WINDOW, "max_window_layers": 1}),
    "qwen3": ("Qwen3Config", {"head_dim": 4, "tie_word_embeddings": True}),
    "gemma2": (
        "Gemma2Config",
        {"head_dim": 4, "sliding_window": WINDOW, "final_logit_softcapping": 3.0, "attn_logit_softcapping": 2.0},
    ),
    "gemma3": ("Gemma3TextConfig", {"head_dim": 4, "sliding_window": WINDOW, "layer_types": MIXED}),
    "mistral": ("MistralConfig", {"sliding_window": WINDOW}),
    "phi3": ("Phi3Config", {"sliding_window": WINDOW}),
    "gpt2": ("GPT2Config", {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}),
    "olmo2": ("Olmo2Config", {}),
    "mixtral": ("MixtralConfig", {"num_local_experts": 4, "sliding_window": WINDOW}),
    "qwen3_moe": (
        "Qwen3MoeConfig",
        {"head_dim": 4, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 8},
    ),
}
"""Configuration class and what makes it hard: windows, soft-caps, tied embeddings, few key-value heads, experts."""
EXPERTS = ("mixtral", "qwen3_moe")


def model_of(config: str, seed: int = 0, dtype: torch.dtype = torch.float64, **changes: Any) -> Any:
    """A tiny random causal language model of a configuration class of transformers, without dropout."""
    import transformers

    kind = getattr(transformers, config)
    if kind is transformers.GPT2Config:
        changes = {"n_embd": 16, "n_layer": 2, "n_head": 4, "n_positions": 64, "initializer_range": 0.3, **changes}
    else:
        changes = {**SIZES, **changes}
    torch.manual_seed(seed)
    model = transformers.AutoModelForCausalLM.from_config(kind(**COMMON, **changes)).to(dtype).eval()
    if "experts" in str([name for name, _ in model.named_modules()]):
        model.set_experts_implementation("eager")  # the grouped product refuses float64 on CPU
    return model


def family(name: str, seed: int = 0, dtype: torch.dtype = torch.float64, **changes: Any) -> Any:
    """A tiny random model of one of the ``FAMILIES``."""
    config, own = FAMILIES[name]
    return model_of(config, seed, dtype, **{**own, **changes})


class _Wide(TorchFunctionMode):
    """Whoever asks for float32 gets float64."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.Tensor.float:
            return args[0].double()
        args = tuple(torch.float64 if a is torch.float32 else a for a in args)
        return func(*args, **{k: torch.float64 if v is torch.float32 else v for k, v in (kwargs or {}).items()})


@contextlib.contextmanager
def wide() -> Iterator[None]:
    """Lifts the casts to float32 inside norms, softmax, rotary embeddings and router of a float64 model."""
    with _Wide():
        yield


def wide_again() -> tuple[Any, Any]:
    """For checkpoints: the backward pass leaves ``wide``, so what was computed inside it enters it again."""
    inside = any(isinstance(mode, _Wide) for mode in _get_current_function_mode_stack())
    return contextlib.nullcontext(), wide() if inside else contextlib.nullcontext()


Rows = tuple[list[Sequence], list[tuple[int, ...]]]


def rows_of(shape: list[tuple[int, list[int], bool]], seed: int) -> Rows:
    """Sequences and rows from (prompt length, completion lengths, whether it is the prompt of the row before)."""
    rng = np.random.default_rng(seed)
    sequences: list[Sequence] = []
    rows: list[tuple[int, ...]] = []
    prompt = rng.integers(3, VOCABULARY, 3)
    for length, completions, again in shape:
        prompt = prompt if again else rng.integers(3, VOCABULARY, length)
        rows.append(tuple(range(len(sequences), len(sequences) + len(completions))))
        for size in completions:
            size = max(size, 2 - len(prompt))  # something must come before a token that counts
            ids = np.concatenate([prompt, rng.integers(3, VOCABULARY, size)]).astype(np.int32)
            sequences.append(Sequence(ids, len(prompt), np.arange(len(ids)) >= max(len(prompt), 1)))
    return sequences, rows


HARD = [(9, [7, 4, 1], False), (0, [5, 6], False), (12, [8, 8], False), (0, [1, 3], True), (14, [1] * 8, False)]
"""Prompts longer than the window, an empty one, one that two rows share, completions of one token, K up to 8."""

random_rows = st.builds(
    rows_of,
    st.lists(
        st.tuples(st.integers(0, 14), st.lists(st.integers(1, 9), min_size=1, max_size=8), st.booleans()),
        min_size=1, max_size=4,
    ),
    st.integers(0, 2**32 - 1),
)  # fmt: skip


def plain_values(model: Any, sequences: list[Sequence]) -> torch.Tensor:
    """The oracle: log-probabilities [T] of the padded path."""
    batch = collate(sequences, 2)
    return token_values(kept_logits(model, batch), batch).logp


def gradients(model: Any, logp: torch.Tensor, seed: int = 0) -> dict[str, torch.Tensor]:
    """Gradients of a random weighted sum of the log-probabilities, by the parameter's name."""
    weight = torch.from_numpy(np.random.default_rng(seed).normal(size=len(logp))).to(logp)
    model.zero_grad()
    (weight * logp).sum().backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def off_by(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> float:
    """Largest difference of two gradients, in units of the largest entry of the expected one."""
    assert found.keys() == expected.keys()
    largest = max(g.abs().max().item() for g in expected.values())
    return max((found[name] - g).abs().max().item() for name, g in expected.items()) / largest
