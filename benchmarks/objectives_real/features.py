"""What the language model says of every answer, computed once: hidden state, log-probability and length."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import runs
import torch
from torch import Tensor

MAX_CHARACTERS = 2400
"""Longer than part B's 1,200: nothing is trained here but a vector, and the held-out pairs become 1,671 of 386."""

VALIDATION_SHARE = 0.25
SPLITS = ("train", "validation", "held_out")


@dataclass(frozen=True)
class Answers:
    """N answers to G prompts with J judged pairs of them.

    phi [N, d] float32: last hidden state, mean over the completion's tokens, each number scaled to mean 0 and deviation 1
    over the training answers.  prompt [N] int.  logp [N]: nats per sequence under the language model, end token included.
    length [N]: tokens.  chosen, rejected [J] int: answers of a pair.  annotator [J] int.
    """

    phi: Tensor
    prompt: Tensor
    logp: Tensor
    length: Tensor
    chosen: Tensor
    rejected: Tensor
    annotator: Tensor

    @property
    def prompts(self) -> int:
        return int(self.prompt.max()) + 1


def load(source: Path, work: Path, base: Path) -> dict[str, Answers]:
    """The three splits by name, from ``features.pt`` in the work folder or computed now."""
    path = work / "features.pt"
    if not path.is_file():
        torch.save(_compute(_pairs(source, work), base), path)
    return {name: Answers(**tensors) for name, tensors in torch.load(path).items()}


def _pairs(source: Path, work: Path) -> dict[str, list[dict[str, Any]]]:
    """Pairs of each split; no prompt is in two splits, and the language model saw no answer to a held-out prompt."""
    seen = {json.loads(line)["prompt"] for line in (work / "clean.jsonl").read_text().splitlines()}
    runs.real_training.MAX_CHARACTERS = MAX_CHARACTERS  # what its reader keeps
    pairs = runs.real_training._pairs(source)
    known = sorted(seen)
    random.Random(runs.MODEL_SEED).shuffle(known)
    validation = set(known[: int(VALIDATION_SHARE * len(known))])
    names = [
        "held_out" if p["prompt"] not in seen else "validation" if p["prompt"] in validation else "train" for p in pairs
    ]
    return {name: [p for p, n in zip(pairs, names, strict=True) if n == name] for name in SPLITS}


def _compute(pairs: dict[str, list[dict[str, Any]]], base: Path) -> dict[str, dict[str, Tensor]]:
    from assent.scoring.loading import load_policy, load_tokenizer

    model, tokenizer = load_policy(base).model.eval(), load_tokenizer(base)
    annotators = sorted({p["annotator"] for rows in pairs.values() for p in rows})
    found = {}
    for name, rows in pairs.items():
        answers = sorted({(p["prompt"], p[side]) for p in rows for side in ("chosen", "rejected")})
        number = {answer: i for i, answer in enumerate(answers)}
        prompts = {prompt: i for i, prompt in enumerate(sorted({prompt for prompt, _ in answers}))}
        found[name] = _read(model, tokenizer, answers, name) | {
            "prompt": torch.tensor([prompts[prompt] for prompt, _ in answers]),
            "chosen": torch.tensor([number[p["prompt"], p["chosen"]] for p in rows]),
            "rejected": torch.tensor([number[p["prompt"], p["rejected"]] for p in rows]),
            "annotator": torch.tensor([annotators.index(p["annotator"]) for p in rows]),
        }
    mean, deviation = found["train"]["phi"].mean(0), found["train"]["phi"].std(0)
    for tensors in found.values():
        tensors["phi"] = (tensors["phi"] - mean) / deviation
    return found


@torch.no_grad()
def _read(model: Any, tokenizer: Any, answers: list[tuple[str, str]], what: str, batch: int = 16) -> dict[str, Tensor]:
    """phi, logp and length of answers, shortest first in batches padded on the right."""
    from tqdm.auto import tqdm

    starts = [len(tokenizer(prompt)["input_ids"]) for prompt, _ in answers]
    texts = [tokenizer(a, add_special_tokens=False)["input_ids"] for _, a in answers]
    ids = [
        tokenizer(p)["input_ids"] + text + [tokenizer.eos_token_id] for (p, _), text in zip(answers, texts, strict=True)
    ]
    ids = [row[: runs.real_training.CONTEXT] for row in ids]
    order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
    phi, logp = torch.zeros(len(ids), model.config.hidden_size), torch.zeros(len(ids))
    for first in tqdm(range(0, len(order), batch), desc=f"features, {what}", unit="batch"):
        rows = order[first : first + batch]
        longest = max(len(ids[i]) for i in rows)
        tokens = torch.tensor([ids[i] + [tokenizer.pad_token_id] * (longest - len(ids[i])) for i in rows])
        hidden = model.base_model(tokens).last_hidden_state  # causal: padding on the right changes nothing before it
        for row, i in enumerate(rows):
            own = slice(starts[i], len(ids[i]))
            phi[i] = hidden[row, own].mean(0)
            logits = model.lm_head(hidden[row, starts[i] - 1 : len(ids[i]) - 1])
            logp[i] = torch.log_softmax(logits, -1).gather(1, tokens[row, own, None]).sum()
    length = torch.tensor([float(len(row) - start) for row, start in zip(ids, starts, strict=True)])
    return {"phi": phi, "logp": logp, "length": length}
