"""The reviser's views of SRPO, "a|c": side a as the answer to the prompt, answer c and the request to improve it.

arXiv:2406.01660; the paper's wording of the request was not found, this one is Assent's.
"""

from __future__ import annotations

from assent.data.dialogue import ASSISTANT, HUMAN, as_messages
from assent.data.fields import plain
from assent.errors import AssentError
from assent.records import Content, Example, Pair

REQUEST = "Please improve this answer and write the better one."


def revision_prompt(prompt: Content, answer: Content) -> Content:
    """What a reviser is asked: the prompt, an answer to it and the request, in the form of the data."""
    if not isinstance(prompt, str):
        return [*prompt, *as_messages(answer), {"role": "user", "content": REQUEST}]
    if ASSISTANT in prompt:
        return f"{prompt}{plain(answer)}{HUMAN} {REQUEST}{ASSISTANT}"
    return f"{prompt}{plain(answer)}\n\n{REQUEST}\n\n"


def revision_views(pair: Pair) -> dict[str, Example]:
    """The four views "a|c" with a, c of chosen and rejected.  Raises AssentError where the sides' prompts differ."""
    if pair.rejected_prompt is not None:
        raise AssentError("srpo compares two answers to one prompt, and this pair has a prompt for each side")
    sides = {"chosen": pair.chosen, "rejected": pair.rejected}
    return {f"{a}|{c}": Example(revision_prompt(pair.prompt, sides[c]), sides[a]) for a in sides for c in sides}
