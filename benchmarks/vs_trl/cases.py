"""What is trained on: models, tokenizers and rows of each case, written to a folder that all sides read.

Completions of the right side are drawn from one set of words and those of the wrong side from another, so that the loss
falls within a few steps.  A word is a token: both tools tokenise the same text to the same ids, which is checked.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

SPECIAL = ("<pad>", "<unk>", "</s>")
WORDS_A_SIDE = 50
TOKENS_A_WORD = 1.3
LONGEST = 1024
JUDGEMENTS = "alpaca_eval_judgements.parquet"


@dataclass(frozen=True)
class Case:
    """A model's shape and the rows' lengths in tokens, end token included (None: those of real judgements).

    family: transformers' name of the configuration.  rate: learning rate, at which the loss falls without overshooting.
    """

    sizes: dict[str, Any]
    lengths: tuple[int, int] | None
    family: str = "llama"
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
    "wide": Case(WIDE, (192, 64), "qwen2"),
}


def write(case: Case, folder: Path, rows: int, seed: int, data: Path) -> dict[str, Any]:
    """Write ``model/`` (weights and tokenizer) and ``rows.jsonl``; what was written, in numbers."""
    model = write_model(case, folder / "model", seed)
    random = np.random.default_rng(seed)
    lengths = list(_lengths(case, rows, random, data))
    with (folder / "rows.jsonl").open("w", encoding="utf-8") as file:
        for prompt, chosen, rejected in lengths:
            file.write(json.dumps(_row(case.sizes["vocab_size"], prompt, chosen, rejected, random)) + "\n")
    return {"parameters": model, "lengths": lengths}


def write_model(case: Case, folder: Path, seed: int) -> int:
    """Random weights in float32 with a tokenizer of whole words; the number of parameters (tied ones once)."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(seed)
    ends = {"pad_token_id": 0, "bos_token_id": None, "eos_token_id": SPECIAL.index("</s>")}
    config = AutoConfig.for_model(case.family, max_position_embeddings=LONGEST, **case.sizes, **ends)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
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


def _row(vocabulary: int, prompt: int, chosen: int, rejected: int, random: np.random.Generator) -> dict[str, str]:
    """A pair as text; the end token is added by the tools, so that a completion holds one word less."""
    first = len(SPECIAL)
    good, bad = np.arange(first, first + WORDS_A_SIDE), np.arange(first + WORDS_A_SIDE, first + 2 * WORDS_A_SIDE)
    drawn = {
        "prompt": random.integers(first, vocabulary, prompt),
        "chosen": random.choice(good, chosen - 1),
        "rejected": random.choice(bad, rejected - 1),
    }
    text = {name: " ".join(f"w{i}" for i in ids) for name, ids in drawn.items()}
    return {"prompt": text["prompt"], "chosen": " " + text["chosen"], "rejected": " " + text["rejected"]}


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
