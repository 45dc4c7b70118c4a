"""What is trained on: models, tokenizers and rows of each case, written to a folder that all sides read.

Completions of the right side are drawn from one set of words and those of the wrong side from another, so that the loss
falls within a few steps.  A word is a token: both tools must tokenise the text to the ids that were meant, which is checked.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vs_trl.measure import digest

SPECIAL = ("<pad>", "<unk>", "</s>")
WORDS_A_SIDE = 50
TOKENS_A_WORD = 1.3
LONGEST = 1024
JUDGEMENTS = "alpaca_eval_judgements.parquet"


@dataclass(frozen=True)
class Case:
    """A model's shape and the rows' lengths in tokens, end token included (None: those of real judgements).

    rate: learning rate, at which the loss falls within a few steps.
    """

    sizes: dict[str, Any]
    lengths: tuple[int, int] | None
    rate: float = 1e-4


SMALL = {
    "vocab_size": 32_000, "hidden_size": 256, "intermediate_size": 688, "num_hidden_layers": 6,
    "num_attention_heads": 4, "num_key_value_heads": 4, "tie_word_embeddings": False,
}  # fmt: skip
WIDE = {
    "vocab_size": 151_936, "hidden_size": 896, "intermediate_size": 4864, "num_hidden_layers": 4,
    "num_attention_heads": 14, "num_key_value_heads": 2, "tie_word_embeddings": True,
}  # fmt: skip
CASES = {
    "short": Case(SMALL, (192, 64)),
    "long": Case(SMALL, (448, 64)),
    "real": Case(SMALL, None),
    "wide": Case(WIDE, (192, 64)),
}


def write(case: Case, folder: Path, rows: int, seed: int, data: Path) -> dict[str, Any]:
    """Write ``model/`` (weights and tokenizer) and ``rows.jsonl``; parameters, lengths and digest of the rows."""
    model = write_model(case, folder / "model", seed)
    random = np.random.default_rng(seed)
    lengths = list(_lengths(case, rows, random, data))
    drawn = [_ids(case.sizes["vocab_size"], *sizes, random) for sizes in lengths]
    with (folder / "rows.jsonl").open("w", encoding="utf-8") as file:
        for ids in drawn:
            prompt, chosen, rejected = (" ".join(f"w{i}" for i in part) for part in ids)
            file.write(json.dumps({"prompt": prompt, "chosen": " " + chosen, "rejected": " " + rejected}) + "\n")
    end = [SPECIAL.index("</s>")]
    meant = [part for prompt, *sides in drawn for part in (prompt, *([*side, *end] for side in sides))]
    return {"parameters": model, "lengths": lengths, "digest": digest(meant)}


def write_model(case: Case, folder: Path, seed: int) -> int:
    """Random weights in float32 with a tokenizer of whole words; the number of parameters (tied ones once)."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    ends = {"pad_token_id": 0, "bos_token_id": None, "eos_token_id": SPECIAL.index("</s>")}
    config = LlamaConfig(max_position_embeddings=LONGEST, **case.sizes, **ends)
    model = LlamaForCausalLM(config).float()
    model.save_pretrained(folder)
    _tokenizer(case.sizes["vocab_size"]).save_pretrained(folder)
    return sum(p.numel() for p in model.parameters())


def _tokenizer(vocabulary: int) -> Any:
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import WhitespaceSplit
    from transformers import PreTrainedTokenizerFast

    words = [*SPECIAL, *(f"w{i}" for i in range(len(SPECIAL), vocabulary))]
    tokenizer = Tokenizer(WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", unk_token="<unk>", eos_token="</s>", model_max_length=LONGEST
    )


def _ids(vocabulary: int, prompt: int, chosen: int, rejected: int, random: np.random.Generator) -> list[np.ndarray]:
    """The ids of a pair without end tokens, which the tools add: prompt, chosen and rejected."""
    first = len(SPECIAL)
    good, bad = np.arange(first, first + WORDS_A_SIDE), np.arange(first + WORDS_A_SIDE, first + 2 * WORDS_A_SIDE)
    return [
        random.integers(first, vocabulary, prompt),
        random.choice(good, chosen - 1),
        random.choice(bad, rejected - 1),
    ]


def _lengths(case: Case, rows: int, random: np.random.Generator, data: Path) -> Iterator[tuple[int, int, int]]:
    """(prompt, chosen, rejected) tokens of every row."""
    if case.lengths is not None:
        prompt, completion = case.lengths
        yield from [(prompt, completion, completion)] * rows
        return
    import pyarrow.parquet as pq

    names = ["prompt", "response_a", "response_b"]
    texts = pq.read_table(data / JUDGEMENTS, columns=names)
    words = np.array([[len((t or "").split()) for t in texts[name].to_pylist()] for name in names]).T
    for drawn in words[random.choice(len(words), rows, replace=False)]:
        prompt, *sides = (max(2, round(TOKENS_A_WORD * n)) for n in drawn)
        prompt = min(prompt, LONGEST // 2)
        chosen, rejected = (min(side, LONGEST - prompt) for side in random.permutation(sides))
        yield prompt, int(chosen), int(rejected)


def available(case: Case, data: Path) -> bool:
    """Whether the case can run here; says why where it cannot."""
    if case.lengths is None and not (data / JUDGEMENTS).is_file():
        print(f"skipped: {data / JUDGEMENTS} is absent (real preference data are not part of the repository)",
              file=sys.stderr)  # fmt: skip
        return False
    return True
