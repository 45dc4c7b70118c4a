"""The tokenizer and the tiny Llama of the small language: real classes, trained on the spot."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from assent.worlds import language

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast


def tokenizer() -> PreTrainedTokenizerFast:
    """A word-level ``PreTrainedTokenizerFast`` with offsets; ids 0 to 3 are pad, bos, eos and unknown."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = ["<pad>", "<bos>", "<eos>", "<unk>", *language.WORDS]
    core = Tokenizer(models.WordLevel({word: index for index, word in enumerate(words)}, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    core.post_processor = processors.TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", 1)])
    core.decoder = decoders.WordPiece(prefix="##", cleanup=False)
    return PreTrainedTokenizerFast(
        tokenizer_object=core, pad_token="<pad>", bos_token="<bos>", eos_token="<eos>", unk_token="<unk>"
    )


def tiny_llama(vocabulary: int, *, width: int = 48, layers: int = 2, seed: int = 0) -> LlamaForCausalLM:
    """A ``LlamaForCausalLM`` with tied embeddings in evaluation mode; 48 x 2 has 0.06M parameters."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=64,
        tie_word_embeddings=True,
        initializer_range=0.1,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LlamaForCausalLM(config).eval()


def encode(tok: Any, rows: Sequence[tuple[str, str]]) -> tuple[Tensor, int]:
    """Right-padded ids [C, T] of (prompt, completion) rows, end of sequence included, and the length of a prompt.

    Every prompt of the language has the same number of tokens.
    """
    texts = [f"{prompt} {completion}" for prompt, completion in rows]
    ids = padded([[*row, tok.eos_token_id] for row in tok(texts)["input_ids"]], tok.pad_token_id)
    return ids, len(tok(rows[0][0])["input_ids"])


def padded(rows: Sequence[Sequence[int]], pad: int = 0) -> Tensor:
    """Right-padded ids [C, T]."""
    width = max(len(row) for row in rows)
    return torch.tensor([[*row, *[pad] * (width - len(row))] for row in rows])


def token_logps(model: Any, ids: Tensor, prompt: int, pad: int = 0) -> tuple[Tensor, Tensor]:
    """Log-probabilities of the completion tokens and their mask, both [C, T - prompt]; nats per token.

    ids [C, T]: right-padded sequences whose prompts all have ``prompt`` tokens.  Right padding needs no attention
    mask in a causal model: no counted token sees it.
    """
    logits = model(input_ids=ids[:, :-1], use_cache=False, logits_to_keep=ids.shape[1] - prompt).logits
    target = ids[:, prompt:]
    mask = target != pad
    logp = torch.log_softmax(logits.float(), -1).gather(-1, target.unsqueeze(-1)).squeeze(-1)
    return logp * mask, mask


def fine_tune(
    model: Any, ids: Tensor, prompt: int, *, steps: int, batch: int, rate: float, seed: int
) -> LlamaForCausalLM:
    """Supervised training on the completions of ``ids`` [C, T], in place; returns the model in evaluation mode."""
    draw = torch.Generator().manual_seed(seed)
    adam = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(adam, rate, total_steps=steps, pct_start=0.1)
    for _ in range(steps):
        rows = torch.randint(len(ids), (batch,), generator=draw)
        logp, mask = token_logps(model, ids[rows], prompt)
        loss = -logp.sum() / mask.sum()
        adam.zero_grad()
        loss.backward()
        adam.step()
        schedule.step()
    return model.eval()
