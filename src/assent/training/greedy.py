"""The likeliest completions of a few fixed prompts, to be read side by side as a run goes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch

from assent.data.tokens import TokenExample
from assent.diagnostics.figures import sample_figures
from assent.objectives.base import Need
from assent.sampling import ModelGenerator, SamplingSettings, Texts
from assent.scoring.forward import causal_lm_of, evaluating

LONGEST = 32
"""Tokens of a completion: enough to see a change, few enough to cost nothing."""


def prompts_in(rows: Iterable[Any], count: int) -> list[np.ndarray]:
    """The ids of the first ``count`` different prompts of token rows, in their order."""
    found: dict[bytes, np.ndarray] = {}
    for row in rows:
        if len(found) == count:
            break
        sequence = getattr(row, "chosen", None) or getattr(row, "sequence", None) or row.sequences[0]
        ids = sequence.ids[: sequence.prompt_length]
        if len(ids):
            found.setdefault(ids.tobytes(), ids)
    return list(found.values())


class Greedy:
    """Completes prompts (ids) with a model and says how; prompts that leave no room for a token are left out."""

    def __init__(self, tokenizer: Any, model: Any, prompts: Sequence[np.ndarray]) -> None:
        self.texts = Texts(tokenizer, model)
        places = getattr(causal_lm_of(model).config, "max_position_embeddings", None)
        room = (lambda ids: LONGEST) if places is None else (lambda ids: places - len(ids))
        self.prompts = [ids for ids in prompts if room(ids) > 0]
        self.settings = SamplingSettings(
            max_new_tokens=min(LONGEST, *(room(ids) for ids in self.prompts)) if self.prompts else 1, temperature=0.0
        )

    def look(self, model: Any, scorer: Any) -> tuple[list[dict[str, Any]], dict[str, float]]:
        """One record for each prompt (prompt, completion, cut, nll in nats per token), and their figures."""
        if not self.prompts:
            return [], {}
        made = ModelGenerator(model, self.texts.end).generate(self.prompts, 1, self.settings)
        decode = self.texts.tokenizer.decode
        records = [
            {
                "prompt": decode(ids.tolist(), skip_special_tokens=True),
                "completion": decode(
                    [i for i in one.ids.tolist() if i not in self.texts.end], skip_special_tokens=True
                ),
                "cut": not one.ended,
                "nll": float(-one.logp.mean()),
            }
            for ids, one in zip(self.prompts, made, strict=True)
        ]
        values = sample_figures(
            [one.ids.tolist() for one in made],
            float(-np.concatenate([one.logp for one in made]).mean()),
            sum(not one.ended for one in made) / len(made),
        )
        if "entropy" in scorer.provides:
            values["samples/entropy"] = self._entropy(model, scorer, made)
        return records, values

    def _entropy(self, model: Any, scorer: Any, made: Sequence[Any]) -> float:
        """Mean entropy of the next token at every token of the completions, nats."""
        sequences = [self.texts.sequence(ids, one) for ids, one in zip(self.prompts, made, strict=True)]
        rows = [TokenExample(s, 1.0, None, i) for i, s in enumerate(sequences)]
        with evaluating(model), torch.no_grad():
            scores = scorer.on(model).scores(rows, {Need("entropy")})
        return float(scores.tokens.entropy.mean())
