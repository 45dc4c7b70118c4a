"""The embedded world: the small language, its reference model, pairs judged by six annotators, and the truth."""

from __future__ import annotations

import json
import os
import random
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from assent.records import Pair
from assent.worlds import annotators, language, models, sampling


@dataclass(frozen=True)
class WorldConfig:
    """Constants of the world; the defaults were fixed before any robust method was run (docs/decisions.md)."""

    pairs: int = 4000
    tests: int = 512
    samples: int = 512
    held_out_prompts: int = 128
    repeated: float = 0.15
    width: int = 64
    layers: int = 1
    corpus: int = 12000
    tune_steps: int = 400
    tune_batch: int = 64
    tune_rate: float = 5e-3
    panel: Mapping[str, float] = field(default_factory=lambda: dict(annotators.PANEL))


@dataclass(frozen=True)
class World:
    """What a run may see (tokenizer, reference, pairs, prompts), and what only the judge of the run knows.

    pairs: P pairs as merged from the annotators' rows.  right [P]: is the stored order the latent one?
    gap [P]: true reward of chosen less rejected, nats.  tests: held-out pairs, ordered by the true reward.
    prompts [N, S]: ids of held-out prompts, one row per evaluation sample.
    """

    seed: int
    config: WorldConfig
    tokenizer: Any
    reference: Any
    pairs: list[Pair]
    right: Tensor
    gap: Tensor
    tests: list[Pair]
    held_out: list[str]
    prompts: Tensor

    @property
    def panel(self) -> Mapping[str, float]:
        """The annotators' true reliabilities by name."""
        return self.config.panel

    @property
    def prompt_tokens(self) -> int:
        """Tokens of every prompt, beginning of sequence included."""
        return self.prompts.shape[1]

    @cached_property
    def clean_pairs(self) -> list[Pair]:
        """The same rows with every label naming the latent order."""
        return annotators.corrected(self.pairs, self.right.tolist())

    @cached_property
    def anonymous_pairs(self) -> list[Pair]:
        """The same labels with the names hidden."""
        return annotators.anonymous(self.pairs)

    @cached_property
    def noise(self) -> Tensor:
        """Gumbel noise of the evaluation samples, common to all policies."""
        return sampling.gumbel(len(self.prompts), language.LONGEST, len(self.tokenizer), self.seed + 7)

    def texts(self, completions: Tensor) -> list[str]:
        """Words of sampled completions [N, T], without special tokens."""
        words = self.tokenizer.convert_ids_to_tokens(list(range(len(self.tokenizer))))
        return [" ".join(words[i] for i in row if i > sampling.EOS) for row in completions.tolist()]

    def rewards(self, completions: Sequence[str]) -> Tensor:
        """True reward [N] of one completion per evaluation prompt."""
        reward = language.Reward()
        return torch.tensor([reward(p, c) for p, c in zip(self.held_out, completions, strict=True)])

    def write(self, directory: str | Path) -> dict[str, Path]:
        """Write ``preferences.jsonl`` and the reference as a Hugging Face directory, for ``assent audit`` and ``train``."""
        from transformers.utils import logging

        directory = Path(directory)
        directory.mkdir(parents=True, exist_ok=True)
        model = directory / "reference"
        shown = logging.is_progress_bar_enabled()
        logging.disable_progress_bar()  # one tiny file; the demo draws bars of its own
        self.reference.save_pretrained(model)
        self.tokenizer.save_pretrained(model)
        if shown:
            logging.enable_progress_bar()
        return {"data": write_rows(self.pairs, directory / "preferences.jsonl"), "model": model}


def write_rows(pairs: Sequence[Pair], path: Path) -> Path:
    """One row per label (prompt, chosen, rejected, annotator) in the rows' original order; written aside, then moved."""
    rows = []
    for pair in pairs:
        for label in pair.labels:
            chosen, rejected = (pair.chosen, pair.rejected) if label.p >= 0.5 else (pair.rejected, pair.chosen)
            prompt = f"{pair.prompt} "  # or the last word of the prompt and the first of the answer would be one
            row = {"prompt": prompt, "chosen": chosen, "rejected": rejected, "annotator": label.annotator}
            rows.append((label.rows[0], json.dumps(row)))
    descriptor, aside = tempfile.mkstemp(dir=path.parent, suffix=".jsonl")
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.writelines(line + "\n" for _, line in sorted(rows))
    os.replace(aside, path)
    return path


def build(seed: int, config: WorldConfig | None = None) -> World:
    """The world of a seed: reference trained, pairs sampled from it, judged; the same seed gives the same world."""
    config = config or WorldConfig()
    tok = models.tokenizer()
    asked = language.prompts()
    random.Random(seed).shuffle(asked)
    held_out, seen = asked[: config.held_out_prompts], asked[config.held_out_prompts :]
    reference, prompt_tokens = _reference(seed, config, tok, asked)
    sides = _completions(reference, tok, seen, config.pairs, seed + 1)
    reward = language.Reward()
    gap = torch.tensor([reward(p, a) - reward(p, b) for p, a, b in sides], dtype=torch.float64)
    first = annotators.latent_orders(gap, seed + 2)
    pairs = annotators.judge(sides, first.tolist(), config.panel, config.repeated, seed + 3)
    stored_first = torch.tensor([pair.chosen == a for pair, (_, a, _) in zip(pairs, sides, strict=True)])
    tests = [
        Pair(p, a, b) if reward(p, a) > reward(p, b) else Pair(p, b, a)
        for p, a, b in _completions(reference, tok, held_out, 2 * config.tests, seed + 4)
        if reward(p, a) != reward(p, b)
    ][: config.tests]
    evaluation = [held_out[i % len(held_out)] for i in range(config.samples)]
    ids = torch.tensor(tok(evaluation)["input_ids"])
    assert ids.shape[1] == prompt_tokens
    signed = torch.where(stored_first, gap, -gap)
    return World(seed, config, tok, reference, pairs, first == stored_first, signed, tests, evaluation, ids)


def _reference(seed: int, config: WorldConfig, tok: Any, asked: Sequence[str]) -> tuple[Any, int]:
    """The tiny Llama after supervised training on the corpus, and the number of tokens of a prompt."""
    ids, prompt = models.encode(tok, language.corpus(asked, config.corpus, seed))
    model = models.tiny_llama(len(tok), width=config.width, layers=config.layers, seed=seed)
    models.fine_tune(
        model,
        ids,
        prompt,
        steps=config.tune_steps,
        batch=config.tune_batch,
        rate=config.tune_rate,
        seed=seed,
    )
    return model.requires_grad_(False), prompt


def _completions(model: Any, tok: Any, asked: Sequence[str], pairs: int, seed: int) -> list[tuple[str, str, str]]:
    """Prompts drawn from ``asked``, each with two different completions sampled from the model."""
    rng = random.Random(seed)
    words = tok.convert_ids_to_tokens(list(range(len(tok))))
    found: list[tuple[str, str, str]] = []
    while len(found) < pairs:
        prompts = [rng.choice(asked) for _ in range(min(1000, pairs))]
        ids = torch.tensor(tok(prompts)["input_ids"])
        sides = []
        for _ in range(2):
            noise = sampling.gumbel(len(prompts), language.LONGEST, len(tok), rng.randrange(2**31))
            drawn = sampling.sample(model, ids, noise).tolist()
            sides.append([" ".join(words[i] for i in row if i > sampling.EOS) for row in drawn])
        found += [(p, a, b) for p, a, b in zip(prompts, *sides, strict=True) if a != b and a and b]
    return found[:pairs]
