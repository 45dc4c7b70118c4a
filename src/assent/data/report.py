"""What happened to the rows on their way in: every drop, truncation and repair, named, counted, with examples."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

SENTENCES: dict[str, tuple[str, str]] = {
    # reading
    "rows read": ("count", "rows found in the data"),
    "bad rows skipped": ("drop", "malformed rows left out and written to the bad-rows file"),
    "identical completions": ("drop", "judgements of two equal responses: they say nothing, so they are left out"),
    "prompt implied": ("repair", "no prompt given: taken as the longest common prefix, cut back to a boundary"),
    "dialogue split": ("repair", "Human/Assistant dialogues cut after the last Assistant: that both sides share"),
    "dialogue branches early": (
        "note",
        "completions that hold further turns of others (user, tools), which are trained on too",
    ),
    "prompt inside completion": ("repair", "completions that held the prompt's messages: they were taken off"),
    "prompt made a message": ("repair", "a text prompt beside message completions was made a user message"),
    "completion made a message": ("repair", "a text completion beside a message prompt was made an assistant message"),
    "completion empty": ("note", "completions without text: only the end of sequence is trained on"),
    "parsed from text": ("repair", "messages or lists given as JSON text were parsed"),
    "ties": ("note", "labels with probability 1/2: neither order is preferred"),
    "order turned": ("repair", "rows whose own label prefers the other order: stored the other way round"),
    "rows merged": ("merge", "rows on a pair that was already there: they became further labels of that pair"),
    "labels averaged": ("merge", "several labels of one annotator on one pair: averaged into one, weights added"),
    "contradictory labels": (
        "note",
        "pairs whose labels prefer different orders: stored by majority, ties as the first row",
    ),
    "columns disagree": ("note", "rows of one pair with different values in a further column: the first was kept"),
    "columns kept": (
        "note",
        "further columns of numbers and short text: kept for audits and objectives that name them",
    ),
    "columns left out": ("note", "columns that Assent does not read (long text, lists) were left out"),
    "columns without a value": ("note", "further columns that hold NaN in some row: no value there"),
    # sampling
    "prompts repeated": ("merge", "prompts that were there already: each is sampled once"),
    # pairing
    "groups paired": ("count", "pairs made of groups of scored completions"),
    "groups without a pair": ("drop", "groups in which the pairing rule tells no two completions apart"),
    # splitting
    "held out": ("count", "rows set aside for evaluation, by prompt"),
    "prompts in both": ("note", "evaluation rows whose prompt is in the training data too"),
    # tokens
    "pad token missing": ("note", "the tokenizer has no pad token: its end token fills the gaps"),
    "end token missing": ("note", "the tokenizer has no end token: none could be added"),
    "end added": ("repair", "plain-text completions that were given the end token"),
    "end already there": ("note", "plain-text completions that carried the end token already"),
    "begin doubled": ("repair", "sequences with two begin tokens: one was taken off"),
    "first token without context": ("note", "sequences without prompt or begin token: the first token is not counted"),
    "reply opening differs": (
        "note",
        "the chat template opens a reply differently inside a conversation: the branch point bounds the prompt",
    ),
    "earlier turns re-rendered": (
        "note",
        "the chat template rewrites earlier turns: the conversation as it stands bounds the prompt",
    ),
    "completion rewritten": ("note", "the chat template changed the text of the completion"),
    "template without end": ("note", "the chat template ends the reply without a special token: none was added"),
    "prompt truncated": ("truncate", "prompts cut from the left to fit max_length; the completion is whole"),
    "too long": ("drop", "rows dropped because they do not fit max_length"),
    "nothing to count": ("drop", "rows dropped because a completion has no token that can be counted"),
    "views without signal": (
        "note",
        "rows that give no signal for a further sequence that the objective asks for: that term leaves them out",
    ),
    "views too long": ("note", "further sequences that do not fit max_length: that term leaves these rows out"),
    "new annotators": ("note", "annotators that the vocabulary did not have: added at its end"),
}
"""Name of an event -> its kind (count, note, repair, merge, truncate, drop) and what it means."""

EXAMPLES = 5


@dataclass(slots=True)
class Event:
    """One named thing that happened: how often, and to which of the first rows."""

    name: str
    kind: str
    sentence: str
    count: int = 0
    rows: list[int] = field(default_factory=list)
    details: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Report:
    """Ordered counts of named events; see ``SENTENCES`` for what each name means."""

    events: dict[str, Event] = field(default_factory=dict)

    def add(self, event: str, row: int | None = None, detail: str | None = None, n: int = 1) -> None:
        """Count ``n`` more of ``event``; the first few row numbers and details are kept as examples."""
        entry = self.events.get(event)
        if entry is None:
            kind, sentence = SENTENCES[event]
            entry = self.events[event] = Event(event, kind, sentence)
        entry.count += n
        if row is not None and len(entry.rows) < EXAMPLES and row not in entry.rows:
            entry.rows.append(row)
        if detail is not None and len(entry.details) < EXAMPLES and detail not in entry.details:
            entry.details.append(detail)

    def __getitem__(self, event: str) -> int:
        """How often ``event`` happened; 0 when it never did."""
        if event not in SENTENCES:
            raise KeyError(event)
        return self.events[event].count if event in self.events else 0

    def __iter__(self) -> Iterator[Event]:
        return iter(self.events.values())

    def merged(self, other: Report) -> Report:
        """Both reports as one; counts of the same event are added."""
        out = Report()
        for event in (*self, *other):
            out.add(event.name, n=event.count)
            kept = out.events[event.name]
            kept.rows = (kept.rows + event.rows)[:EXAMPLES]
            kept.details = list(dict.fromkeys(kept.details + event.details))[:EXAMPLES]
        return out

    def table(self) -> list[tuple[str, str, int, str, str]]:
        """Plain rows for printing: event, kind, count, sentence, examples (row numbers or details)."""
        return [(e.name, e.kind, e.count, e.sentence, _examples(e)) for e in self]

    def to_json(self) -> dict[str, dict[str, Any]]:
        """Event -> kind, count, sentence and example rows, for files and ``--json``."""
        return {
            e.name: {
                "kind": e.kind, "count": e.count, "sentence": e.sentence, "rows": e.rows, "details": e.details,
            }
            for e in self
        }  # fmt: skip


def _examples(event: Event) -> str:
    rows = ", ".join(str(r) for r in event.rows)
    if event.rows and event.count > len(event.rows):
        rows += ", ..."
    details = "; ".join(event.details)
    return "; ".join(part for part in (f"rows {rows}" if rows else "", details) if part)
