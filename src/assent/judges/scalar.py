"""Judges that score one completion: a world's truth, any function, a reward model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from assent.data.dialogue import as_messages
from assent.data.fields import plain
from assent.errors import AssentError
from assent.judges.judge import Judge, Numbers, checked_scores, logistic
from assent.records import Content

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
    """A judge from a sequence-classification model of one output: a directory, a hub id, or a model with its tokenizer.

    Text is the prompt followed by the completion, conversations go through the tokenizer's chat template, as in training.
    Raises AssentError for a model of several labels, and for text of more than ``max_length`` tokens.
    """
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    name = str(model) if isinstance(model, str | Path) else type(model).__name__
    if isinstance(model, str | Path):
        try:
            tokenizer = tokenizer or AutoTokenizer.from_pretrained(model)
            model = AutoModelForSequenceClassification.from_pretrained(model)
        except (OSError, ValueError) as error:
            raise AssentError(
                f"{name!r} cannot be loaded as a reward model ({str(error).splitlines()[0]}); give a directory or hub id of a "
                "sequence-classification model"
            ) from None
    if tokenizer is None:
        raise AssentError("the reward model is an object in memory; pass its tokenizer too")
    if model.config.num_labels != 1:
        raise AssentError(
            f"the reward model {name!r} has {model.config.num_labels} labels; expected one output, a reward"
        )
    if model.config.pad_token_id is None:
        model.config.pad_token_id = (
            tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
        )
    model = model.eval() if device is None else model.eval().to(device)
    return ScalarJudge(_Rewards(model, tokenizer, batch_size, max_length), name, temperature)


@dataclass(frozen=True)
class _Rewards:
    """The scores of a reward model, in batches of like lengths."""

    model: Any
    tokenizer: Any
    batch_size: int
    max_length: int

    @torch.no_grad()
    def __call__(self, prompts: Sequence[Content], completions: Sequence[Content]) -> Numbers:
        ids = [self._ids(prompt, completion) for prompt, completion in zip(prompts, completions, strict=True)]
        order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
        found = np.full(len(ids), np.nan)
        for start in range(0, len(order), self.batch_size):
            rows = order[start : start + self.batch_size]
            width = max(len(ids[i]) for i in rows)
            pad = self.model.config.pad_token_id
            batch = torch.tensor([ids[i] + [pad] * (width - len(ids[i])) for i in rows], device=self.model.device)
            mask = torch.tensor(
                [[1] * len(ids[i]) + [0] * (width - len(ids[i])) for i in rows], device=self.model.device
            )
            found[rows] = self.model(input_ids=batch, attention_mask=mask).logits[:, 0].double().cpu().numpy()
        return found

    def _ids(self, prompt: Content, completion: Content) -> list[int]:
        if isinstance(prompt, str):
            ids = list(self.tokenizer(prompt + plain(completion))["input_ids"])
        else:
            said = as_messages(completion)
            text = self.tokenizer.apply_chat_template([*prompt, *said], tokenize=False)
            ids = list(self.tokenizer(text, add_special_tokens=False)["input_ids"])
        if (
            self.tokenizer.eos_token_id is not None
            and isinstance(prompt, str)
            and ids[-1:] != [self.tokenizer.eos_token_id]
        ):
            ids.append(self.tokenizer.eos_token_id)
        if not 0 < len(ids) <= self.max_length:
            raise AssentError(
                f"the reward model was given {len(ids)} tokens; expected 1 to {self.max_length} (max_length)"
            )
        return ids
