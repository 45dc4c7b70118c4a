"""Hidden states of a causal language model on the plain padded path, for heads and masks that read them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from assent.scoring.batch import Batch, collate
from assent.scoring.forward import _takes_logits_to_keep, at_least_float32, causal_lm_of, device_of


def size_of(model: nn.Module) -> tuple[int, int]:
    """Layers and width of the model's hidden states."""
    config = causal_lm_of(model).config
    config = config.get_text_config() if hasattr(config, "get_text_config") else config
    return config.num_hidden_layers, config.hidden_size


def run(model: nn.Module, sequences: Sequence[Any], pad_token_id: int) -> tuple[Batch, tuple[Tensor, ...]]:
    """The padded batch and the states after every layer, [C, L, d] each, the last one behind the final norm."""
    batch = collate(sequences, pad_token_id, device_of(model))
    inputs = {"input_ids": batch.ids, "attention_mask": torch.ones_like(batch.ids), "use_cache": False}
    if _takes_logits_to_keep(model):
        inputs["logits_to_keep"] = 1  # the head's logits are not read
    return batch, model(**inputs, output_hidden_states=True).hidden_states[1:]


def predicting(model: nn.Module, sequences: Sequence[Any], pad_token_id: int) -> Tensor:
    """States [layers, T, d] of every layer at the places that predict the counted tokens, sequence by sequence."""
    batch, states = run(model, sequences, pad_token_id)
    return at_least_float32(torch.stack([state[batch.row, batch.position - 1] for state in states]))


@torch.no_grad()
def last_predicting(model: nn.Module, sequences: Sequence[Any], pad_token_id: int) -> Tensor:
    """States [T, d] of the last layer at the places that predict the counted tokens, sequence by sequence; no gradient."""
    batch, states = run(model, sequences, pad_token_id)
    return at_least_float32(states[-1][batch.row, batch.position - 1])


def prompt_ends(model: nn.Module, sequences: Sequence[Any], pad_token_id: int) -> Tensor:
    """States [C, d] of the last layer at each sequence's last prompt token; the completions are not run."""
    batch, states = run(model, [_Prompt.of(s) for s in sequences], pad_token_id)
    return at_least_float32(states[-1][batch.row, batch.position - 1])


class _Prompt(NamedTuple):
    """A prompt with one token after it, which alone counts."""

    ids: np.ndarray
    prompt_length: int
    mask: np.ndarray

    @staticmethod
    def of(sequence: Any) -> _Prompt:
        size = sequence.prompt_length
        return _Prompt(sequence.ids[: size + 1], size, np.arange(size + 1) == size)


def last(model: nn.Module, sequences: Sequence[Any], pad_token_id: int) -> Tensor:
    """States [C, d] of the last layer at each sequence's last counted token."""
    batch, states = run(model, sequences, pad_token_id)
    ends = batch.length.cumsum(0) - 1
    return at_least_float32(states[-1][torch.arange(len(batch), device=ends.device), batch.position[ends]])
