"""A tiny random Llama with its tokenizer and a preference file on disk, for runs of seconds."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

TEXT = "a the cat dog bird fish sees likes eats finds red blue big small and then here there now well"
WORDS = TEXT.split()
SPECIAL = ["<pad>", "<s>", "</s>", "<unk>"]


def small_tokenizer() -> Any:
    """Words and spaces, BOS before and EOS after, offsets as every fast tokenizer has them."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    vocabulary = {word: i for i, word in enumerate([*SPECIAL, *WORDS, *(f"Ġ{w}" for w in WORDS), "Ġ"])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A $B", special_tokens=[("<s>", 1)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", pad_token="<pad>", unk_token="<unk>"
    )


def small_model(seed: int = 0, dtype: str = "float32") -> Any:
    """Two layers of width 32."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(SPECIAL) + 2 * len(WORDS) + 1, hidden_size=32, intermediate_size=48, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=128, bos_token_id=1, eos_token_id=2,
        pad_token_id=0, initializer_range=0.1,
    )  # fmt: skip
    return LlamaForCausalLM(config).to(getattr(torch, dtype))


def exact_model(seed: int = 0, tied: bool = True) -> Any:
    """A tiny GPT-2 in float64: unlike Llama's its norms do not pass through float32, so that equal means equal."""
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(seed)
    config = GPT2Config(
        vocab_size=45, n_embd=32, n_layer=2, n_head=4, n_positions=64, bos_token_id=1, eos_token_id=2, pad_token_id=0,
        initializer_range=0.1, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, tie_word_embeddings=tied,
    )  # fmt: skip
    return GPT2LMHeadModel(config).double()


def save_small_model(folder: Path, seed: int = 0, dtype: str = "float32") -> Path:
    """Model and tokenizer as an ordinary directory."""
    small_model(seed, dtype).save_pretrained(folder)
    small_tokenizer().save_pretrained(folder)
    return folder


def sentence(rng: random.Random, low: int = 2, high: int = 7) -> str:
    return " ".join(rng.choice(WORDS) for _ in range(rng.randint(low, high)))


def pair_dicts(count: int, seed: int = 0, annotators: int = 3, weights: bool = False) -> list[dict[str, Any]]:
    """Pairs whose chosen side ends with "well"; a third of the labels of the last annotator are turned round."""
    rng = random.Random(seed)
    rows = []
    for _ in range(count):
        good, bad = sentence(rng) + " well", sentence(rng)
        who = rng.randrange(annotators)
        if who == annotators - 1 and rng.random() < 1 / 3:
            good, bad = bad, good
        row = {"prompt": sentence(rng, 1, 4), "chosen": " " + good, "rejected": " " + bad, "annotator": f"ann{who}"}
        if weights:
            row["weight"] = rng.choice([1, 2, 3])
        rows.append(row)
    return rows


def write_jsonl(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def token_pairs(count: int, seed: int = 0, annotators: int = 3, vocabulary: int = 40) -> list[Any]:
    """Random pairs in tokens: uneven lengths, soft labels, row weights, several labels on some pairs."""
    import numpy as np

    from assent.data.tokens import TokenPair, TokenSequence

    rng = np.random.default_rng(seed)
    rows = []
    for i in range(count):
        prompt = rng.integers(4, vocabulary, rng.integers(1, 5))
        sides = []
        for _ in range(2):
            ids = np.concatenate([[1], prompt, rng.integers(4, vocabulary, rng.integers(1, 7)), [2]]).astype(np.int32)
            sides.append(TokenSequence(ids, 1 + len(prompt), np.arange(len(ids)) > len(prompt)))
        labels = tuple(
            (int(rng.integers(annotators)), float(rng.choice([1.0, 1.0, 0.7])), float(rng.choice([1.0, 2.0])), False)
            for _ in range(1 + int(rng.random() < 0.3))
        )
        weight = sum(w for _, _, w, _ in labels)
        target = sum(p * w for _, p, w, _ in labels) / weight
        rows.append(TokenPair(*sides, weight, target, labels, {"confidence": float(rng.random())}, i))
    return rows


def with_views(rows: list[Any], objective: Any, seed: int = 0, vocabulary: int = 40) -> list[Any]:
    """The rows with a random sequence for every view that the objective reads; every fifth row lacks one."""
    from dataclasses import replace

    import numpy as np

    from assent.data.tokens import TokenSequence, TokenView

    rng = np.random.default_rng(seed)
    wanted = sorted(need for need in objective.needs if need.kind == "view")
    found = []
    for i, row in enumerate(rows):
        views = {}
        for need in wanted if i % 5 else wanted[:-1]:
            ids = np.concatenate([[1], rng.integers(4, vocabulary, rng.integers(3, 8)), [2]]).astype(np.int32)
            scored = not need.name.endswith("@degraded")
            level = {} if scored else {"degree": float(rng.integers(need.size))}
            views[need.name] = TokenView(TokenSequence(ids, 2, np.arange(len(ids)) >= 2), level, scored)
        found.append(replace(row, views=views))
    return found


def scorer_for(model: Any, rows: Any, objective: Any) -> Any:
    """A scorer with a copy of the model as reference, the heads and the token columns that the objective reads."""
    import copy

    import torch

    from assent.scoring.causal_lm import CausalLMScorer
    from assent.scoring.heads import build
    from assent.scoring.reference import SecondModel
    from assent.scoring.token_columns import from_function

    heads = build(objective.needs, model)
    for module in heads.modules() if heads else ():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    names = {need.name for need in objective.needs if need.kind == "token_column"} - {"id"}
    tables = {n: from_function(lambda s: s.ids[s.mask] % 3 / 2, n, rows) for n in sorted(names)}
    return CausalLMScorer(model, SecondModel(copy.deepcopy(model)), 0, token_tables=tables, heads=heads)


def trainer_of(model: Any, rows: Any, objective: Any, folder: Path, **arguments: Any) -> Any:
    """A quiet trainer on the CPU; the reference is a copy of the model as it is now."""
    from transformers import PrinterCallback, TrainingArguments

    from assent.training.trainer import PreferenceTrainer

    own = {k: arguments.pop(k) for k in ("annotators", "eval_rows", "observers", "scorer") if k in arguments}
    defaults = {"learning_rate": 1e-2, "report_to": "none", "use_cpu": True, "save_strategy": "no", "seed": 3,
                "disable_tqdm": True, "logging_nan_inf_filter": False, "logging_steps": 1,
                "dataloader_pin_memory": False}  # fmt: skip
    args = TrainingArguments(output_dir=str(folder), **(defaults | arguments))
    own.setdefault("scorer", scorer_for(model, rows, objective))
    own.setdefault("annotators", ("anna", "ben", "cleo"))
    trainer = PreferenceTrainer(model, args, rows, objective=objective, **own)
    trainer.remove_callback(PrinterCallback)
    return trainer


def largest_difference(first: Any, second: Any) -> float:
    """Over all parameters of two models."""
    pairs = zip(first.parameters(), second.parameters(), strict=True)
    return max((a - b).abs().max().item() for a, b in pairs)


def save_model_and_prompts(folder: Path) -> Path:
    """A model and eight prompts in a folder, for runs that sample their own data."""
    save_small_model(folder / "model")
    write_jsonl(folder / "prompts.jsonl", [{"prompt": sentence(random.Random(i), 1, 4)} for i in range(8)])
    return folder


def count_a(prompts: Any, completions: Any) -> list[float]:
    """A reward that a policy learns in a few steps."""
    return [float(text.count("a")) for text in completions]
