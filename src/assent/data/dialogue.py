"""Prompts that are only implied: the part that two completions share, cut back to a place where a turn can end."""

from __future__ import annotations

from typing import Any

from assent.data.fields import Malformed
from assent.data.report import Report
from assent.records import Content

HUMAN = "\n\nHuman:"
ASSISTANT = "\n\nAssistant:"


def as_messages(completion: Content) -> list[Any]:
    """A completion as what the assistant says: its messages, or a text as one message."""
    return [{"role": "assistant", "content": completion}] if isinstance(completion, str) else list(completion)


def common_prefix(a: str, b: str) -> int:
    """Length of the longest common prefix."""
    if a == b[: len(a)]:
        return len(a)
    if b == a[: len(b)]:
        return len(b)
    low, high = 0, min(len(a), len(b))  # a[:low] == b[:low], a[:high] != b[:high]: halve; slices compare in C
    while high - low > 1:
        middle = (low + high) // 2
        if a[low:middle] == b[low:middle]:
            low = middle
        else:
            high = middle
    return low


def split_text(chosen: str, rejected: str, report: Report, row: int) -> tuple[str, str, str]:
    """(prompt, chosen, rejected) of two texts that begin with the same prompt.

    A Human/Assistant dialogue is cut after the last ``\\n\\nAssistant:`` that both share; the further text, cut
    before its last space (which then belongs to the completions) or after its last line break.
    """
    shared = common_prefix(chosen, rejected)
    prefix = chosen[:shared]
    turn = prefix.rfind(ASSISTANT)
    if HUMAN.lstrip() in prefix and turn >= 0:
        cut = turn + len(ASSISTANT)
        report.add("dialogue split", row)
        if HUMAN in chosen[cut:] or HUMAN in rejected[cut:]:
            report.add("dialogue branches early", row)
    else:
        cut = _word_boundary(prefix)
        report.add("prompt implied", row)
    return prefix[:cut], chosen[cut:], rejected[cut:]


def _word_boundary(prefix: str) -> int:
    for place in range(len(prefix) - 1, -1, -1):
        if prefix[place].isspace():
            return place if prefix[place] == " " else place + 1
    return 0


def split_messages(
    chosen: list[Any], rejected: list[Any], report: Report, row: int
) -> tuple[list[Any], list[Any], list[Any]]:
    """(prompt, chosen, rejected) of two conversations: the shared messages are the prompt, up to a turn that asks."""
    cut = 0
    for a, b in zip(chosen[:-1], rejected[:-1], strict=False):  # each side keeps at least one message
        if a != b:
            break
        cut += 1
    while cut > 0 and chosen[cut - 1]["role"] == "assistant":  # a reply is never the end of a prompt
        cut -= 1
    if cut == 0:
        raise Malformed("prompt", "missing, and the two conversations share no message to take it from")
    report.add("prompt implied", row)
    return chosen[:cut], chosen[cut:], rejected[cut:]


def align(prompt: Content, completions: list[Content], report: Report, row: int) -> tuple[Content, list[Content]]:
    """Prompt and completions in one form (all text or all messages), the prompt's messages taken off the completions."""
    if isinstance(prompt, str) and all(isinstance(c, str) for c in completions):
        return prompt, completions
    conversations = [c for c in completions if not isinstance(c, str)]
    if isinstance(prompt, str):
        first = conversations[0][0]
        if first["role"] != "assistant" and all(c[0] == first for c in conversations):
            return _take_shared(prompt, completions, report, row)
        prompt = [{"role": "user", "content": prompt}]
        report.add("prompt made a message", row)
    out: list[Content] = []
    for completion in completions:
        if isinstance(completion, str):
            report.add("completion made a message", row)
            completion = [{"role": "assistant", "content": completion}]
        elif len(completion) > len(prompt) and list(completion[: len(prompt)]) == list(prompt):
            report.add("prompt inside completion", row)
            completion = completion[len(prompt) :]
        out.append(completion)
    return prompt, out


def _take_shared(prompt: str, completions: list[Content], report: Report, row: int) -> tuple[Content, list[Content]]:
    """Whole conversations beside a text prompt: the messages before the first reply of all of them are the prompt."""
    cut = 0
    conversations = [c for c in completions if not isinstance(c, str)]
    for turn in zip(*(c[:-1] for c in conversations), strict=False):
        if any(message != turn[0] for message in turn):
            break
        cut += 1
    while cut > 0 and conversations[0][cut - 1]["role"] == "assistant":
        cut -= 1
    shared = list(conversations[0][:cut])
    out: list[Content] = []
    for completion in completions:
        if isinstance(completion, str):
            report.add("completion made a message", row)
            out.append([{"role": "assistant", "content": completion}])
        else:
            report.add("prompt inside completion", row)
            out.append(completion[cut:])
    if not any(message["content"].strip() == prompt.strip() for message in shared) and prompt:
        shared = [{"role": "user", "content": prompt}, *shared]
        report.add("prompt made a message", row)
    return shared, out
