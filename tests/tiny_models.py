"""A tiny random Llama with a byte-level tokenizer, saved the way users save models."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def byte_tokenizer(**special: str | None) -> Any:
    """Every byte is a token; begin, end and pad tokens unless told otherwise."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    core = Tokenizer(models.BPE({c: i for i, c in enumerate([*alphabet, "<s>", "</s>"])}, []))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    names = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "</s>"} | special
    return PreTrainedTokenizerFast(tokenizer_object=core, **{k: v for k, v in names.items() if v is not None})


def save_tiny_llama(folder: Path, seed: int = 0, **special: str | None) -> Path:
    """Write config, weights and tokenizer; 258 tokens, 64 positions, about 16,000 parameters."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = byte_tokenizer(**special)
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=64, initializer_range=0.3, bos_token_id=256, eos_token_id=257,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
