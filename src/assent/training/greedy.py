"""The likeliest completions of a few fixed prompts, to be read side by side as a run goes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from assent.diagnostics.sampled import sampled
from assent.sampling import SamplingSettings, Texts
from assent.scoring.forward import causal_lm_of

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

    def __init__(self, tokenizer: Any, model: Any, prompts: Sequence[np.ndarray], longest: int = LONGEST) -> None:
        self.texts = Texts(tokenizer, model)
        room = [room_after(model, ids, longest) for ids in prompts]
        self.prompts = [ids for ids, left in zip(prompts, room, strict=True) if left > 0]
        tokens = min((left for left in room if left > 0), default=1)
        self.settings = SamplingSettings(max_new_tokens=tokens, temperature=0.0)

    def look(self, scorer: Any) -> tuple[list[dict[str, Any]], dict[str, float]]:
        """One record for each prompt (prompt, completion, cut, nll in nats per token), and their figures."""
        return sampled(scorer, self.texts, self.prompts, self.settings) if self.prompts else ([], {})


def room_after(model: Any, ids: np.ndarray, longest: int) -> int:
    """How many tokens, at most ``longest``, fit behind a prompt."""
    places = getattr(causal_lm_of(model).config, "max_position_embeddings", None)
    return longest if places is None else min(longest, places - len(ids))
