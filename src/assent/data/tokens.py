"""Records to tokens: the whole sequence tokenised once, counted completion tokens told by character offsets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from assent.data.encoding import Encoder
from assent.data.reading import Records
from assent.data.rendering import Renderer
from assent.data.report import Report
from assent.errors import AssentError
from assent.records import Example, Group, Pair

_CHUNK = 512
_UNLIMITED = 10**9
"""Tokenizers without a limit of their own say a number above this."""


@dataclass(frozen=True, slots=True, eq=False)
class TokenSequence:
    """One prompt with one completion.

    ids: int32 [T].  prompt_length: tokens before the first completion token.  mask: bool [T], True on the completion
    tokens whose log-probability counts (the first token of a sequence has no context and never does).
    """

    ids: np.ndarray
    prompt_length: int
    mask: np.ndarray

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, slots=True, eq=False)
class TokenView:
    """A further sequence of a row.  columns: numbers that belong to it.  scored: whether its log-probability is read."""

    sequence: TokenSequence
    columns: Mapping[str, float] = field(default_factory=dict)
    scored: bool = True


@dataclass(frozen=True, slots=True, eq=False)
class TokenPair:
    """A pair in tokens.  labels: (annotator index, p, weight, gold) each.  index: its place among the records.

    views: further sequences by name; a name that the run asks for and this row lacks gives no signal for it.
    """

    chosen: TokenSequence
    rejected: TokenSequence
    weight: float
    target: float
    labels: tuple[tuple[int, float, float, bool], ...]
    columns: Mapping[str, float]
    index: int
    views: Mapping[str, TokenView] = field(default_factory=dict)

    @property
    def branch(self) -> int:
        """Tokens that both sides share: the longest common prefix, at most the prompts'."""
        return branch_point(self.chosen, self.rejected)


@dataclass(frozen=True, slots=True, eq=False)
class TokenExample:
    """A completion in tokens; label None for SFT rows, a probability where it was one side of a pair."""

    sequence: TokenSequence
    weight: float
    label: bool | float | None
    index: int
    columns: Mapping[str, float] = field(default_factory=dict)
    views: Mapping[str, TokenView] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class TokenGroup:
    """Several completions of one prompt in tokens, with a score each (higher is better)."""

    sequences: tuple[TokenSequence, ...]
    scores: tuple[float, ...]
    weight: float
    index: int
    columns: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Tokenised:
    """Rows in tokens.  report: what happened on the way (reading's report is not repeated).

    annotators: the vocabulary that the labels' indices point into.  pad_id: fills gaps between sequences.
    lost: rows that were dropped, of the ``total`` given.
    """

    rows: tuple[Any, ...]
    report: Report
    annotators: tuple[str, ...]
    kind: str
    pad_id: int
    max_length: int | None
    lost: int
    total: int

    def __len__(self) -> int:
        return len(self.rows)


def branch_point(a: TokenSequence, b: TokenSequence) -> int:
    """Longest common token prefix of two sequences, at most the prompt of either."""
    n = min(a.prompt_length, b.prompt_length)
    differ = np.flatnonzero(a.ids[:n] != b.ids[:n])
    return int(differ[0]) if len(differ) else n


def tokenise(
    records: Records,
    tokenizer: Any,
    *,
    max_length: int | None = None,
    annotators: tuple[str, ...] | None = None,
    truncation: Literal["prompt", "drop"] = "prompt",
    max_loss_share: float = 0.05,
    allow_loss: bool = False,
    progress: bool = True,
) -> Tokenised:
    """Tokenise every row.

    max_length: tokens per sequence; None takes the tokenizer's own limit.  truncation: "prompt" cuts prompts from the
    left (the begin token and the whole completion stay; both sides of a pair alike) and drops a row only where the
    completion leaves no room for any prompt; "drop" drops every row that is too long.
    annotators: a vocabulary to use (training's, for evaluation data); names it lacks are added at its end.

    Raises AssentError: a tokenizer without offsets, pad and end token or (for messages) chat template; more than
    ``max_loss_share`` of the rows lost unless ``allow_loss``; no row left.
    """
    if truncation not in ("prompt", "drop"):
        raise AssentError(f"truncation is {truncation!r}; expected 'prompt' or 'drop'")
    if max_length is not None and max_length < 2:
        raise AssentError(f"max_length is {max_length}; expected at least 2 tokens")
    if max_length is None and (own := getattr(tokenizer, "model_max_length", None)) and own < _UNLIMITED:
        max_length = int(own)
    report = Report()
    encoder = Encoder(tokenizer, report)
    names = _vocabulary(records, annotators, report)
    index = {name: i for i, name in enumerate(names)}
    fit = Fit(max_length, truncation, encoder.bos, report)
    rows = []
    for place, row, sequences in _sequences(records, encoder, Renderer(tokenizer, report), progress):
        kept = fit(sequences, row_number(row), shared=getattr(row, "rejected_prompt", None) is None)
        if kept is not None:
            rows.append(_token_row(row, kept, place, index))
    _check_losses(records, len(rows), report, fit, max_loss_share, allow_loss)
    return Tokenised(
        tuple(rows), report, names, records.kind, encoder.pad, max_length, len(records) - len(rows), len(records)
    )


def _vocabulary(records: Records, annotators: tuple[str, ...] | None, report: Report) -> tuple[str, ...]:
    if annotators is None:
        return records.annotators
    new = tuple(name for name in records.annotators if name not in set(annotators))
    for name in new:
        report.add("new annotators", detail=name)
    return (*annotators, *new)


def _contents(row: Any) -> list[tuple[Any, Any]]:
    """(prompt, completion) of every sequence of a row."""
    if isinstance(row, Pair):
        other = row.prompt if row.rejected_prompt is None else row.rejected_prompt
        return [(row.prompt, row.chosen), (other, row.rejected)]
    if isinstance(row, Group):
        return [(row.prompt, completion) for completion in row.completions]
    return [(row.prompt, row.completion)]


def row_number(row: Any) -> int:
    """Position in the input, for messages."""
    return row.labels[0].rows[0] if isinstance(row, Pair) and row.labels[0].rows else getattr(row, "row", 0)


def _sequences(
    records: Records, encoder: Encoder, renderer: Renderer, progress: bool
) -> Iterator[tuple[int, Any, list[TokenSequence]]]:
    from assent.data.progress import track

    with track("tokenising", len(records), shown=progress) as advance:
        for start in range(0, len(records), _CHUNK):
            chunk = records.rows[start : start + _CHUNK]
            rendered, numbers = [], []
            for row in chunk:
                parts = renderer.render_row(_contents(row), row.tools, row_number(row))
                rendered += parts
                numbers += [row_number(row)] * len(parts)
            encoded = iter(encoder.encode(rendered, numbers))
            for offset, row in enumerate(chunk):
                sequences = [TokenSequence(*next(encoded)) for _ in _contents(row)]
                yield start + offset, row, sequences
            advance(len(chunk))


@dataclass
class Fit:
    """Brings the sequences of a row within max_length, or drops the row (None); counts either."""

    max_length: int | None
    truncation: str
    bos: int | None
    report: Report
    longest: int = 0

    def __call__(self, parts: list[TokenSequence], row: int, *, shared: bool) -> list[TokenSequence] | None:
        if not all(part.mask.any() for part in parts):
            self.report.add("nothing to count", row)
            return None
        longest = max(map(len, parts))
        self.longest = max(self.longest, longest)
        if self.max_length is None or longest <= self.max_length:
            return parts
        cuts = [max(0, len(part) - self.max_length) for part in parts]
        if shared:  # the sides keep the same prompt
            cuts = [max(cuts)] * len(parts)
        room = [part.prompt_length - self._begin(part) - 1 for part in parts]  # a token of the prompt stays
        if self.truncation == "drop" or any(c > max(r, 0) for c, r in zip(cuts, room, strict=True)):
            self.report.add("too long", row, f"{longest} tokens")
            return None
        self.report.add("prompt truncated", row, f"{max(cuts)} tokens off")
        return [self._cut(part, cut) for part, cut in zip(parts, cuts, strict=True)]

    def _begin(self, part: TokenSequence) -> int:
        return int(self.bos is not None and len(part) > 0 and part.ids[0] == self.bos)

    def _cut(self, part: TokenSequence, cut: int) -> TokenSequence:
        if cut == 0:
            return part
        head = self._begin(part)
        keep = np.r_[0:head, head + cut : len(part)]
        return TokenSequence(part.ids[keep], part.prompt_length - cut, part.mask[keep])


def _token_row(row: Pair | Example | Group, parts: list[TokenSequence], place: int, names: dict[str, int]) -> Any:
    columns = {n: float(v) for n, v in row.columns.items() if isinstance(v, (bool, int, float))}
    if isinstance(row, Group):
        return TokenGroup(tuple(parts), row.scores, row.weight, place, columns)
    if isinstance(row, Example):
        return TokenExample(parts[0], row.weight, row.label, place, columns)
    for name in ("margin", "score_chosen", "score_rejected", "logit"):
        if (value := getattr(row, name)) is not None:
            columns[name] = value
    labels = tuple((names[x.annotator], x.p, x.weight, x.gold) for x in row.labels)
    return TokenPair(parts[0], parts[1], row.weight, row.target, labels, columns, place)


def _check_losses(records: Records, kept: int, report: Report, fit: Fit, max_share: float, allowed: bool) -> None:
    lost = len(records) - kept
    if lost == 0:
        return
    why = ", ".join(f"{e.count} {e.name}" for e in report if e.kind == "drop")
    share = f"{lost} of {len(records)} rows ({lost / len(records):.1%}) would be lost: {why}"
    limit = f"raise max_length (longest sequence {fit.longest} tokens, limit {fit.max_length})"
    mend = limit if report["too long"] else "give prompts and completions that hold text"
    if kept == 0:
        raise AssentError(f"{records.source}: every row would be lost: {why}; {mend}")
    if lost > max_share * len(records) and not allowed:
        raise AssentError(
            f"{records.source}: {share}, more than {max_share:.0%}; {mend}, or pass allow_loss to go on without them"
        )
