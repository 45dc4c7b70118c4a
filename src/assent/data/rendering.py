"""Contents to text: plain text joined, conversations through the tokenizer's chat template, with the prompt's end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from assent.data.dialogue import common_prefix
from assent.data.report import Report
from assent.errors import AssentError
from assent.records import Content


@dataclass(frozen=True, slots=True)
class Rendered:
    """The text of one whole sequence; characters from ``boundary`` on are the completion's."""

    text: str
    boundary: int
    templated: bool


class Renderer:
    """Renders prompts with their completions; remembers the last prompt, which the sides of a pair share."""

    def __init__(self, tokenizer: Any, report: Report) -> None:
        self.tokenizer = tokenizer
        self.report = report
        self._asked: tuple[Any, Any] | None = None
        self._prompt = ""

    def render_row(self, parts: Sequence[tuple[Content, Content]], tools: Any, row: int) -> list[Rendered]:
        """The (prompt, completion) sequences of a row; where they share a rendered prompt, it ends alike in all."""
        sides = [self.render(prompt, completion, tools, row) for prompt, completion in parts]
        ends = {side.boundary for side in sides}
        if len(ends) == 1 or not sides[0].templated or any(prompt is not parts[0][0] for prompt, _ in parts):
            return sides
        shared = min(ends)  # a template opened these replies in different ways: the prompt is what all have
        for side in sides[1:]:
            shared = min(shared, common_prefix(sides[0].text, side.text))
        return [Rendered(side.text, shared, templated=True) for side in sides]

    def render(self, prompt: Content, completion: Content, tools: Any, row: int) -> Rendered:
        """One sequence.  Raises AssentError naming the row where the template cannot render it."""
        if isinstance(prompt, str) and isinstance(completion, str):
            return Rendered(prompt + completion, len(prompt), templated=False)
        if isinstance(prompt, str) or isinstance(completion, str):
            raise AssentError(f"row {row}: prompt and completion must both be text or both be messages")
        if not getattr(self.tokenizer, "chat_template", None):
            raise AssentError(
                f"row {row}: the data hold messages, and the tokenizer {_name(self.tokenizer)} has no chat template; "
                "set tokenizer.chat_template, take the model's instruction-tuned sibling, or give text"
            )
        if completion[-1]["role"] != "assistant":
            raise AssentError(
                f"row {row}: the completion ends with a message of {completion[-1]['role']!r}; expected 'assistant'"
            )
        if any(message["role"] != "assistant" for message in completion):
            self.report.add("dialogue branches early", row)
        text = self._template([*prompt, *completion], tools, row)
        return Rendered(text, self._boundary(text, prompt, completion, tools, row), templated=True)

    def _boundary(self, text: str, prompt: Sequence[Any], completion: Sequence[Any], tools: Any, row: int) -> int:
        opened = self._opened(prompt, tools, row)
        if text.startswith(opened):
            boundary = len(opened)
        elif text.startswith(self._template(prompt, tools, row)):
            self.report.add("reply opening differs", row)
            boundary = common_prefix(text, opened)
        else:
            self.report.add("earlier turns re-rendered", row)
            boundary = self._branch_point(text, prompt, completion, tools, row)
        kept = text[boundary:]
        said = [str(m["content"]).strip() for m in completion if m["role"] == "assistant"]
        if any(words and words not in kept for words in said):
            self.report.add("completion rewritten", row)
            if not kept.strip():
                raise AssentError(
                    f"row {row}: the chat template of {_name(self.tokenizer)} leaves nothing of the completion"
                )
        return boundary

    def _branch_point(self, text: str, prompt: Sequence[Any], completion: Sequence[Any], tools: Any, row: int) -> int:
        """Where the same conversation with another first word of the reply would part from ``text``."""
        first = completion[0]
        word = "=" if str(first["content"]).lstrip().startswith("~") else "~"
        other = [*prompt, {"role": first["role"], "content": word}, *completion[1:]]
        return common_prefix(text, self._template(other, tools, row))

    def _opened(self, prompt: Sequence[Any], tools: Any, row: int) -> str:
        """The prompt with the opening of a reply; the same for both sides of a pair, so rendered once."""
        if self._asked is None or self._asked[0] is not prompt or self._asked[1] is not tools:
            self._prompt = self._template(prompt, tools, row, opening=True)
            self._asked = (prompt, tools)
        return self._prompt

    def _template(self, messages: Sequence[Any], tools: Any, row: int, *, opening: bool = False) -> str:
        from jinja2 import TemplateError

        try:
            return self.tokenizer.apply_chat_template(
                list(messages), tools=tools, tokenize=False, add_generation_prompt=opening
            )
        except (TemplateError, ValueError, TypeError, KeyError, IndexError) as error:
            roles = ", ".join(message["role"] for message in messages)
            raise AssentError(
                f"row {row}: the chat template of {_name(self.tokenizer)} refuses this conversation ({error}); "
                f"its roles are: {roles}"
            ) from error


def _name(tokenizer: Any) -> str:
    return repr(getattr(tokenizer, "name_or_path", "") or type(tokenizer).__name__)
