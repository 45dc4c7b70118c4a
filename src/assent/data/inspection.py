"""Rows for people's eyes: tokens coloured by what the loss sees of them, safe to print whatever the text holds."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from assent.data.fields import plain
from assent.data.tokens import TokenExample, TokenGroup, TokenPair, TokenSequence
from assent.records import Content, Example, Group, Pair

if TYPE_CHECKING:
    from rich.text import Text

STYLES = {"prompt": "dim", "counted": "green", "uncounted": "yellow", "cut": "red", "special": "bold magenta"}
"""What a token is to the loss -> how it is printed."""
MARKS = {"counted": ("⟦", "⟧"), "cut": ("✂", "✂")}
"""Marks around text where there are no colours."""
LONGEST = 2_000
"""Characters of one stretch of text that are printed; the middle of a longer one is left out, and said so."""
LEGEND = "prompt dim, counted completion green, not counted yellow, cut off red, special tokens magenta"
PLAIN_LEGEND = "counted completion in ⟦ ⟧, cut off in ✂ ✂"


def parts(row: Any) -> list[tuple[str, TokenSequence]]:
    """The named sequences of a row in tokens."""
    if isinstance(row, TokenPair):
        return [("chosen", row.chosen), ("rejected", row.rejected)]
    if isinstance(row, TokenGroup):
        named = zip(row.scores, row.sequences, strict=True)
        return [(f"score {score:g}", sequence) for score, sequence in named]
    assert isinstance(row, TokenExample)
    return [("completion", row.sequence)]


def stretches(sequence: TokenSequence, tokenizer: Any, whole: TokenSequence | None = None) -> Iterator[tuple[str, str]]:
    """(what, text) of neighbouring tokens that are alike: prompt, counted, uncounted, cut, special.

    whole: the sequence before truncation; the tokens that it has more, in front of the prompt, are cut.
    """
    kinds = _kinds(sequence, tokenizer)
    ids = sequence.ids
    if whole is not None and len(whole) > len(ids):
        lost = len(whole) - len(ids)
        head = 0  # the begin token stays in front of the cut
        while head < len(ids) and head < 1 and whole.ids[head] == ids[head] and kinds[head] == "special":
            head += 1
        kinds = [*kinds[:head], *["cut"] * lost, *kinds[head:]]
        ids = np.concatenate([ids[:head], whole.ids[head : head + lost], ids[head:]])
    start = 0
    for stop in range(1, len(ids) + 1):
        if stop == len(ids) or kinds[stop] != kinds[start] or kinds[start] == "special":
            text = tokenizer.decode(
                ids[start:stop].tolist(), skip_special_tokens=False, clean_up_tokenization_spaces=False
            )
            yield kinds[start], text
            start = stop


def _kinds(sequence: TokenSequence, tokenizer: Any) -> list[str]:
    special = set(tokenizer.all_special_ids)
    special |= {i for i, token in getattr(tokenizer, "added_tokens_decoder", {}).items() if token.special}
    out = []
    for place, (token, counted) in enumerate(zip(sequence.ids.tolist(), sequence.mask.tolist(), strict=True)):
        if place < sequence.prompt_length:
            out.append("special" if token in special else "prompt")
        else:
            out.append("counted" if counted else "uncounted")
    return out


def printable(text: str) -> str:
    """Line breaks shown and kept; control and direction-changing characters, which could act on a terminal, spelt out."""
    out = []
    for character in text:
        if character == "\n":
            out.append("↵\n")
        elif character in "\t\u200d" or unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Co"):
            out.append(character)  # U+200D joins emoji
        else:
            out.append(f"\\x{ord(character):02x}" if ord(character) < 256 else f"\\u{ord(character):04x}")
    return "".join(out)


def shortened(text: str) -> str:
    """The text, or its two ends with the number of characters between them."""
    if len(text) <= LONGEST:
        return text
    half = LONGEST // 2
    return f"{text[:half]} [... {len(text) - 2 * half} characters ...] {text[-half:]}"


def coloured(sequence: TokenSequence, tokenizer: Any, whole: TokenSequence | None = None, *, marks: bool) -> Text:
    """One sequence as styled text; ``marks`` puts signs around what the colours would tell."""
    from rich.text import Text

    out = Text()
    for what, text in stretches(sequence, tokenizer, whole):
        before, after = MARKS.get(what, ("", "")) if marks else ("", "")
        out.append(before + printable(shortened(text)) + after, style=STYLES[what])
    return out


def show(
    row: Any, tokenizer: Any, whole: Any = None, *, title: str = "", colour: bool = True, width: int | None = None
) -> str:
    """A row in tokens for the terminal: every sequence with its counts, ANSI colours where ``colour``."""
    from rich.text import Text

    before = dict(enumerate(parts(whole))) if whole is not None else {}
    lines = [Text(title or f"row {row.index}", style="bold")]
    if isinstance(row, TokenPair):
        shared = f"{row.branch} tokens shared; weight {row.weight:g}, target {row.target:.3g}"
        lines.append(Text(f"{shared}, {len(row.labels)} label{'s' if len(row.labels) > 1 else ''}", style="dim"))
    for place, (name, sequence) in enumerate(parts(row)):
        full = before[place][1] if before else None
        cut = len(full) - len(sequence) if full is not None else 0
        counts = f"{sequence.prompt_length} prompt + {int(sequence.mask.sum())} counted tokens"
        lines.append(Text(f"{name}: {counts}" + (f", {cut} cut off" if cut else ""), style="bold cyan"))
        lines.append(coloured(sequence, tokenizer, full, marks=not colour))
    return _rendered(lines, colour, width)


def lost(row: Any, tokenizer: Any, *, title: str, colour: bool = True, width: int | None = None) -> str:
    """A row that does not fit, all of it marked as cut."""
    from rich.text import Text

    lines = [Text(title, style="bold")]
    for name, sequence in parts(row):
        text = tokenizer.decode(sequence.ids.tolist(), skip_special_tokens=False, clean_up_tokenization_spaces=False)
        before, after = ("", "") if colour else MARKS["cut"]
        lines.append(Text(f"{name}: {len(sequence)} tokens, the row is dropped", style="bold cyan"))
        lines.append(Text(before + printable(shortened(text)) + after, style=STYLES["cut"]))
    return _rendered(lines, colour, width)


def show_record(row: Any, *, title: str, colour: bool = True, width: int | None = None) -> str:
    """A row as it was read, without a tokenizer: prompt, completions, labels."""
    from rich.text import Text

    lines = [Text(title, style="bold"), Text(_words(row.prompt), style=STYLES["prompt"])]
    for name, content in _record_parts(row):
        lines.append(Text(f"{name}:", style="bold cyan"))
        before, after = ("", "") if colour else MARKS["counted"]
        lines.append(Text(before + _words(content) + after, style=STYLES["counted"]))
    for label in getattr(row, "labels", ()):
        gold = ", gold" if label.gold else ""
        rows = ", ".join(map(str, label.rows))
        text = f"label by {printable(label.annotator)}: p {label.p:g}, weight {label.weight:g}{gold}, row {rows}"
        lines.append(Text(text, style="dim"))
    return _rendered(lines, colour, width)


def _record_parts(row: Any) -> list[tuple[str, Content]]:
    if isinstance(row, Pair):
        return [("chosen", row.chosen), ("rejected", row.rejected)]
    if isinstance(row, Group):
        return [(f"score {s:g}", c) for s, c in zip(row.scores, row.completions, strict=True)]
    assert isinstance(row, Example)
    return [("completion" if row.label is None else f"completion, label {str(row.label).lower()}", row.completion)]


def _words(content: Content) -> str:
    if isinstance(content, str):
        return printable(shortened(content))
    return "\n".join(f"{m['role']}: {printable(shortened(plain([m])))}" for m in content)


def _rendered(lines: Sequence[Text], colour: bool, width: int | None) -> str:
    import io

    from rich.console import Console

    console = Console(
        file=io.StringIO(), force_terminal=colour, color_system="standard" if colour else None, width=width or 120,
        highlight=False, markup=False, emoji=False,
    )  # fmt: skip
    for line in lines:
        console.print(line, soft_wrap=True)
    return console.file.getvalue()  # type: ignore[attr-defined]
