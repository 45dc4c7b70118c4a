"""Prompts to the ids that a completion continues, and completions back to text, in the form of the data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from assent.data.dialogue import as_messages
from assent.data.encoding import Encoder
from assent.data.fields import plain
from assent.data.rendering import Rendered
from assent.data.report import Report
from assent.data.tokens import TokenSequence
from assent.errors import AssentError
from assent.records import Content
from assent.sampling.generation import Completion


class Texts:
    """A tokenizer's two directions.  end: ids that end a completion (its end token and those of the generation settings)."""

    def __init__(self, tokenizer: Any, model: Any = None) -> None:
        self.tokenizer, self.encoder = tokenizer, Encoder(tokenizer, Report())
        told = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
        told = told if isinstance(told, list) else [] if told is None else [told]
        self.end = frozenset({*told, *([] if self.encoder.eos is None else [self.encoder.eos])})
        if not self.end:
            raise AssentError(
                "the tokenizer has no end token, so no completion could end; set one (tokenizer.eos_token = ...)"
            )

    def prompt_ids(self, prompts: Sequence[Content], max_length: int | None = None) -> list[np.ndarray]:
        """The ids of each prompt, with begin token and the opening of a reply; the last ``max_length`` of them."""
        rendered = [self._rendered(i, prompt) for i, prompt in enumerate(prompts)]
        found = self.encoder.encode(rendered, range(len(rendered)))
        ids = [np.asarray(tokens[:length], np.int32) for tokens, length, _ in found]
        return ids if max_length is None else [i[-max_length:] for i in ids]

    def _rendered(self, number: int, prompt: Content) -> Rendered:
        if isinstance(prompt, str):
            return Rendered(prompt, len(prompt), templated=False)
        if not getattr(self.tokenizer, "chat_template", None):
            raise AssentError(
                f"prompt {number} holds messages, and the tokenizer has no chat template; set one or give text"
            )
        text = self.tokenizer.apply_chat_template(list(prompt), tokenize=False, add_generation_prompt=True)
        return Rendered(text, len(text), templated=True)

    def content(self, prompt: Content, completion: Completion) -> Content:
        """The completion as the data hold it: text after a text prompt, a message after messages."""
        ids = [i for i in completion.ids.tolist() if i not in self.end]
        text = self.tokenizer.decode(ids, skip_special_tokens=True)
        return text if isinstance(prompt, str) else [{"role": "assistant", "content": text}]

    def logged_ids(self, prompt: Content, ids: np.ndarray, completion: Content, max_length: int) -> np.ndarray:
        """The ids of a logged completion after the prompt's ``ids``, end token included, at most ``max_length``.

        Prompt and completion are tokenised together; by itself where a token would cross their border.
        """
        if isinstance(prompt, str):
            told = Rendered(prompt + plain(completion), len(prompt), templated=False)
        else:
            said = as_messages(completion)
            head = self._rendered(0, prompt).text
            text = self.tokenizer.apply_chat_template([*prompt, *said], tokenize=False)
            told = Rendered(text, len(head) if text.startswith(head) else 0, templated=True)
        ((whole, start, mask),) = self.encoder.encode([told], [0])
        stop = int(np.flatnonzero(mask)[-1]) + 1
        found = np.asarray(whole[start:stop], np.int32)
        if not np.array_equal(np.asarray(whole[:start])[-len(ids) :], ids):
            alone = self.tokenizer(plain(completion), add_special_tokens=False)["input_ids"]
            ended = [] if self.encoder.eos is None else [self.encoder.eos]
            found = np.asarray([*alone, *ended], np.int32)
        return found[:max_length]

    @staticmethod
    def sequence(prompt: np.ndarray, completion: Completion) -> TokenSequence:
        """Prompt and completion as they were drawn, never tokenised again."""
        ids = np.concatenate([prompt, completion.ids]).astype(np.int32)
        return TokenSequence(ids, len(prompt), np.arange(len(ids)) >= len(prompt))
