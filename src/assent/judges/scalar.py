"""Judges that score one completion: a world's truth, any function, a reward model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from assent.data.dialogue import as_messages
from assent.data.encoding import Encoder
from assent.data.fields import plain
from assent.data.rendering import Renderer
from assent.data.report import Report
from assent.data.tokens import TokenExample, TokenSequence
from assent.errors import AssentError
from assent.judges.judge import Judge, Numbers, checked_scores, logistic
from assent.records import Content
from assent.scoring.forward import causal_lm_of
from assent.scoring.loading import LoadedModel, load_policy, load_tokenizer
from assent.scoring.reward import REWARD, RewardScorer
from assent.scoring.reward_model import settle_padding

ScoreFunction = Callable[[Sequence[Content], Sequence[Content]], Sequence[float]]
"""(prompts, completions) -> a number each, higher is better."""


@dataclass(frozen=True)
class ScalarJudge(Judge):
    """Prefers by a score of each completion: P(a is better) = sigmoid((score(a) - score(b)) / temperature).

    function: (prompts, completions) -> scores in nats, such as a world's true reward or a reward model.
    temperature: 0 takes the higher score for certain and equal ones for a tie.
    """

    function: ScoreFunction
    name: str = "scores"
    temperature: float = 1.0
    scored: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not 0 <= self.temperature < float("inf"):
            raise AssentError(
                f"the judge's temperature is {self.temperature!r}; expected a finite number of at least 0"
            )

    def score(self, prompts: Sequence[Content], completions: Sequence[Content]) -> Numbers:
        return np.asarray(self.function(prompts, completions), dtype=np.float64)

    def prefer(self, prompts: Sequence[Content], a: Sequence[Content], b: Sequence[Content]) -> Numbers:
        gap = checked_scores(self, prompts, a) - checked_scores(self, prompts, b)
        if self.temperature == 0:
            return np.where(np.isnan(gap), np.nan, 0.5 * (1 + np.sign(gap)))
        return logistic(gap / self.temperature)


def reward_model(
    model: Any, tokenizer: Any = None, *, temperature: float = 1.0, batch_size: int = 16, max_length: int = 2048,
    device: str | torch.device | None = None,
) -> ScalarJudge:  # fmt: skip
    """A judge from a sequence-classification model of one output: a directory (an adapter's too), a hub id, or a model in
    memory with its tokenizer.

    Text is the prompt followed by the completion, conversations go through the tokenizer's chat template: the tokens that a
    run with ``bradley_terry()`` trains on.
    Raises AssentError for a model of several labels or without a trained head, and for text of more than ``max_length`` tokens.
    """
    name = str(model) if isinstance(model, str | Path) else type(model).__name__
    fresh = False
    if isinstance(model, str | Path):
        loaded, tokenizer = _loaded(name, tokenizer)
        model, fresh = loaded.model, loaded.fresh_head
    if tokenizer is None:
        raise AssentError("the reward model is an object in memory; pass its tokenizer too")
    labels = causal_lm_of(model).config.num_labels
    if labels != 1:
        raise AssentError(f"the reward model {name!r} has {labels} labels; expected one output, a reward")
    encoder = Encoder(tokenizer, Report())
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token  # as when a tokenizer is loaded
    pad, _ = settle_padding(causal_lm_of(model), tokenizer, fresh)
    model = model.eval() if device is None else model.eval().to(device)
    return ScalarJudge(_Rewards(RewardScorer(model, pad), encoder, batch_size, max_length), name, temperature)


def _loaded(name: str, tokenizer: Any) -> tuple[LoadedModel, Any]:
    """The model and its tokenizer from a directory or hub id."""
    try:
        loaded = load_policy(name, reward=True)
        tokenizer = tokenizer or load_tokenizer(name)
    except AssentError as error:
        raise AssentError(f"{name!r} cannot be loaded as a reward model: {error}") from None
    if loaded.fresh_head and loaded.adapter is None:  # an adapter brings its head along
        raise AssentError(
            f"{name!r} cannot be loaded as a reward model: it is a causal language model without a trained head; train one "
            "from it with bradley_terry()"
        )
    return loaded, tokenizer


@dataclass(frozen=True)
class _Rewards:
    """The scores of a reward model, in batches of like lengths."""

    scorer: RewardScorer
    encoder: Encoder
    batch_size: int
    max_length: int

    @torch.no_grad()
    def __call__(self, prompts: Sequence[Content], completions: Sequence[Content]) -> Numbers:
        rows = self._rows(prompts, completions)
        order = sorted(range(len(rows)), key=lambda i: len(rows[i].sequence))
        found = np.full(len(rows), np.nan)
        for start in range(0, len(order), self.batch_size):
            some = order[start : start + self.batch_size]
            found[some] = self.scorer.scores([rows[i] for i in some]).column(REWARD).double().cpu().numpy()
        return found

    def _rows(self, prompts: Sequence[Content], completions: Sequence[Content]) -> list[TokenExample]:
        renderer = Renderer(self.encoder.tokenizer, Report())
        texts = []
        for number, (prompt, completion) in enumerate(zip(prompts, completions, strict=True)):
            said = plain(completion) if isinstance(prompt, str) else as_messages(completion)
            texts.append(renderer.render(prompt, said, None, number))
        rows = []
        for number, (ids, _, _) in enumerate(self.encoder.encode(texts, range(len(texts)))):
            if not 0 < len(ids) <= self.max_length:
                raise AssentError(
                    f"the reward model was given {len(ids)} tokens; expected 1 to {self.max_length} (max_length)"
                )
            counted = np.arange(len(ids)) > 0  # a score is of the whole text, whichever tokens count
            rows.append(TokenExample(TokenSequence(ids, 1, counted), 1.0, None, number))
        return rows
