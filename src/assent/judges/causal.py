"""A causal language model as a judge: it reads a prompt with two answers, and the odds of its words for either decide.

With the model that a policy starts from this is the self-judging of 2405.14103, whose details are reconstructed; the judge
stays as it is, so that it cannot drift with the policy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from assent.data.fields import plain
from assent.errors import AssentError
from assent.judges.judge import Judge, Numbers, logistic
from assent.judges.pairwise import SHOWN
from assent.records import Content
from assent.scoring.forward import device_of, evaluating

QUESTION = f"""Below are a prompt and two answers to it. Which answer is better?

{SHOWN}
The better answer is"""


@dataclass(frozen=True, eq=False)
class CausalJudge(Judge):
    """P(a is better) = (q_ab + 1 - q_ba) / 2, q_xy the chance of the word for the first of x, y over both words' together.

    So p_ab + p_ba = 1 for any model, and one that always names the same place says 1/2.
    question: text with {prompt}, {first} and {second}; through the chat template where the tokenizer has one.
    words: what the model would say for the first and for the second; the first token of each is read.
    max_length: most tokens of a question.  Raises AssentError for longer ones, and for words that begin alike.
    """

    model: Any
    tokenizer: Any
    question: str = QUESTION
    words: tuple[str, str] = (" A", " B")
    batch_size: int = 16
    max_length: int = 4096
    name: str = "causal"
    _tokens: tuple[int, int] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        try:
            self.question.format(prompt="", first="", second="")
        except (KeyError, IndexError, ValueError):
            raise AssentError(
                "the judge's question must hold {prompt}, {first} and {second} and no other braces"
            ) from None
        chat = bool(getattr(self.tokenizer, "chat_template", None))
        words = [word.lstrip() if chat else word for word in self.words]  # a reply begins with no blank
        first, second = (self.tokenizer(word, add_special_tokens=False)["input_ids"] for word in words)
        if not first or not second or first[0] == second[0] or self.tokenizer.unk_token_id in (first[0], second[0]):
            raise AssentError(
                f"the judge's words {words[0]!r} and {words[1]!r} do not begin with tokens that tell them apart"
            )
        object.__setattr__(self, "_tokens", (first[0], second[0]))

    def prefer(self, prompts: Sequence[Content], a: Sequence[Content], b: Sequence[Content]) -> Numbers:
        there, back = self._chances(prompts, a, b), self._chances(prompts, b, a)
        self.tally.contradicted += int(((there - 0.5) * (0.5 - back) < 0).sum())
        return (there + 1 - back) / 2

    @torch.no_grad()
    def _chances(self, prompts: Sequence[Content], first: Sequence[Content], second: Sequence[Content]) -> Numbers:
        """q of each: the chance of the word for the first, among the two words."""
        asked = [self._ids(plain(x), plain(y), plain(z)) for x, y, z in zip(prompts, first, second, strict=True)]
        order, found = sorted(range(len(asked)), key=lambda i: len(asked[i])), np.full(len(asked), np.nan)
        device = device_of(self.model)
        with evaluating(self.model):
            for start in range(0, len(order), self.batch_size):
                some = order[start : start + self.batch_size]
                ends = np.array([len(asked[i]) - 1 for i in some])
                ids = np.zeros((len(some), ends.max() + 1), np.int64)
                for row, i in enumerate(some):  # padding on the right, where no question looks
                    ids[row, : len(asked[i])] = asked[i]
                kept, place = np.unique(ends, return_inverse=True)
                inputs = torch.from_numpy(ids).to(device)
                logits = self.model(
                    input_ids=inputs, attention_mask=torch.ones_like(inputs), use_cache=False,
                    logits_to_keep=torch.from_numpy(kept).to(device),
                ).logits  # fmt: skip
                last = (
                    logits[torch.arange(len(some)), torch.from_numpy(place)][:, list(self._tokens)]
                    .double()
                    .cpu()
                    .numpy()
                )
                found[some] = logistic(last[:, 0] - last[:, 1])
        return found

    def _ids(self, prompt: str, first: str, second: str) -> list[int]:
        text = self.question.format(prompt=prompt, first=first, second=second)
        if getattr(self.tokenizer, "chat_template", None):
            asked = [{"role": "user", "content": text}]
            text = self.tokenizer.apply_chat_template(asked, tokenize=False, add_generation_prompt=True)
            ids = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        else:
            ids = self.tokenizer(text)["input_ids"]
            if ids and ids[-1] == self.tokenizer.eos_token_id:  # some tokenizers close every text
                ids = ids[:-1]
        if len(ids) > self.max_length:
            raise AssentError(
                f"a question to the judge has {len(ids)} tokens; expected at most {self.max_length} (max_length)"
            )
        return ids


def causal_judge(place: str | Path, *, device: str | torch.device | None = None) -> CausalJudge:
    """The judge that a directory, an adapter's directory or a hub id holds."""
    from assent.scoring.loading import load_policy, load_tokenizer

    try:
        model, tokenizer = load_policy(place).model, load_tokenizer(place)
    except AssentError as error:
        raise AssentError(f"{str(place)!r} cannot be loaded as a judge: {error}") from None
    return CausalJudge(model if device is None else model.to(device), tokenizer, name=str(place))
