"""Batched sampling from a causal language model: each prompt is run once for all of its completions.

Completions come with the model's log-probability of every token, as a scorer would give it, and with that of the
distribution that was drawn from, so that objectives can correct for what has changed since.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from assent.errors import AssentError
from assent.sampling.decoding import Decoder, shares_prompts
from assent.sampling.draws import choose, shaped, uniforms
from assent.sampling.settings import SamplingSettings
from assent.scoring.forward import at_least_float32, device_of, evaluating


@dataclass(frozen=True, eq=False)
class Completion:
    """One completion of prompt number ``prompt``; ``sample`` counts those of a prompt.

    ids: int32 [T], its end token included where it ended by itself.  logp [T]: nats per token under the model.
    drawn_logp [T]: under the distribution that was drawn from.  ended: whether it was not cut at max_new_tokens.
    """

    prompt: int
    sample: int
    ids: np.ndarray
    logp: np.ndarray
    drawn_logp: np.ndarray
    ended: bool

    def __len__(self) -> int:
        return len(self.ids)


class Generator(Protocol):
    """Whoever makes completions of prompts given as token ids."""

    name: str

    def generate(self, prompts: Sequence[np.ndarray], count: int, settings: SamplingSettings) -> list[Completion]:
        """``count`` completions of each prompt, prompt by prompt."""
        ...


KEPT = 0.75
"""Sequences that have ended are taken out once at most this share goes on."""

Mixing = Callable[[Tensor, Tensor], Tensor]
"""(policy, other) log-probabilities [N, V] -> those of their mixture."""


@dataclass(frozen=True)
class ModelGenerator:
    """Samples a transformers model with a key-value cache.

    model: the policy, wrapped or not.  end: ids that end a completion.  other: a second model and how its next-token
    distribution is mixed in at every token (``mixtures``).  progress: told sequences done and their total.
    """

    model: nn.Module
    end: frozenset[int]
    other: tuple[nn.Module, Mixing] | None = None
    name: str = "transformers"
    progress: Callable[[int, int], Any] | None = None

    @torch.no_grad()
    def generate(self, prompts: Sequence[np.ndarray], count: int, settings: SamplingSettings) -> list[Completion]:
        if count < 1:
            raise AssentError(f"{count} completions of each prompt were asked for; expected at least 1")
        if empty := [i for i, ids in enumerate(prompts) if len(ids) == 0]:
            raise AssentError(
                f"prompt {empty[0]} has no token to start from; give text or a tokenizer with a begin token"
            )
        found: dict[tuple[int, int], Completion] = {}
        with evaluating(self.model):
            for batch in self._batches(prompts, max(1, settings.batch_size // count)):
                for part in _split(batch, count, settings.batch_size):
                    for made in self._batch(prompts, part, settings):
                        found[made.prompt, made.sample] = made
                if self.progress is not None:
                    self.progress(len(found), len(prompts) * count)
        return [found[i, j] for i in range(len(prompts)) for j in range(count)]

    def _batches(self, prompts: Sequence[np.ndarray], most: int) -> Iterator[list[int]]:
        """Numbers of prompts that run together, short ones first; of one length where they cannot share a cache."""
        together = all(map(shares_prompts, self._models()))
        order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
        for _, same in groupby(order, key=lambda i: 0 if together else len(prompts[i])):
            numbers = list(same)
            yield from (numbers[start : start + most] for start in range(0, len(numbers), most))

    def _batch(
        self, prompts: Sequence[np.ndarray], part: Sequence[tuple[int, Sequence[int]]], settings: SamplingSettings
    ) -> list[Completion]:
        device = device_of(self.model)
        heads = [prompts[i] for i, _ in part]
        repeats = len(part[0][1])
        decoders = [Decoder(m, heads, repeats, settings.max_new_tokens) for m in self._models()]
        rows = [(i, j) for i, samples in part for j in samples]
        draws = np.stack([uniforms(prompts[i], j, settings.max_new_tokens, settings.seed) for i, j in rows])
        draws = torch.from_numpy(draws).to(device)
        made = [([], [], []) for _ in rows]
        left, ended = torch.arange(len(rows), device=device), [False] * len(rows)
        for step in range(settings.max_new_tokens):
            own, drawn = self._distributions(decoders, settings)
            token = choose(drawn, draws[left, step])
            values = [x.gather(-1, token[:, None]).squeeze(-1).tolist() for x in (own, drawn)]
            going = []
            for place, (row, t) in enumerate(zip(left.tolist(), token.tolist(), strict=True)):
                if ended[row]:
                    continue
                for column, value in zip(made[row], (t, values[0][place], values[1][place]), strict=True):
                    column.append(value)
                ended[row] = t in self.end
                if not ended[row]:
                    going.append(place)
            if not going or step + 1 == settings.max_new_tokens:
                break
            kept = None
            if len(going) <= KEPT * len(left):  # taking sequences out costs a copy: not for every one
                kept = torch.tensor(going, device=device)
                left, token = left[kept], token[kept]
            for decoder in decoders:
                decoder.step(token, kept)
        return [
            Completion(i, j, np.array(ids, np.int32), np.array(logp), np.array(drawn_logp), done)
            for (i, j), (ids, logp, drawn_logp), done in zip(rows, made, ended, strict=True)
        ]

    def _distributions(self, decoders: Sequence[Decoder], settings: SamplingSettings) -> tuple[Tensor, Tensor]:
        """Log-probabilities [n, V] of the policy and of what is drawn from."""
        own, *others = (torch.log_softmax(at_least_float32(decoder.logits()), -1) for decoder in decoders)
        mixed = own if self.other is None else self.other[1](own, *others)
        return own, shaped(mixed, settings)

    def _models(self) -> list[nn.Module]:
        return [self.model] if self.other is None else [self.model, self.other[0]]


def _split(prompts: Sequence[int], count: int, most: int) -> list[list[tuple[int, Sequence[int]]]]:
    """(prompt, its samples) of batches of at most ``most`` sequences."""
    if count <= most:
        return [[(i, range(count)) for i in prompts]]
    return [[(i, range(at, min(at + most, count)))] for i in prompts for at in range(0, count, most)]
