"""Views in tokens: the further sequences that an objective asks for, put beside the tokenised rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from assent.data import views
from assent.data.encoding import Encoder
from assent.data.progress import track
from assent.data.reading import Records
from assent.data.rendering import Renderer
from assent.data.report import Report
from assent.data.tokens import Fit, Tokenised, TokenSequence, TokenView, row_number
from assent.errors import AssentError
from assent.objectives.base import Need

_CHUNK = 512


def with_views(
    tokens: Tokenised, records: Records, tokenizer: Any, wanted: Iterable[Need], *, seed: int = 0, progress: bool = True
) -> Tokenised:
    """The same rows with the views that ``wanted`` (needs of kind "view") names.

    A row whose words give no signal for a view, or whose view does not fit max_length, lacks it; both are counted.
    seed: what views draw (instructions, orders, levels, other prompts) depends on it and on the row's words only.
    Raises AssentError for a view that no transform makes, or that no row has.
    """
    wanted = sorted(set(wanted))
    views.check(wanted)
    if not wanted:
        return tokens
    report = Report()
    sources = [records.rows[row.index] for row in tokens.rows]
    others = views.other_prompts(sources, seed)
    rows, found = [], dict.fromkeys((need.name for need in wanted), 0)
    made = _made(sources, others, wanted, seed, report, progress)
    for row, parts in zip(tokens.rows, _encoded(sources, made, tokenizer, tokens.max_length, report), strict=True):
        rows.append(replace(row, views=parts))
        for name in parts:
            found[name] += 1
    for name, count in found.items():
        if count == 0:
            why = views.WHY.get(name.rpartition("@")[2], "no row's words give a signal for it")
            raise AssentError(f"{records.source}: no row has the view {name!r} that the objective reads: {why}")
    return replace(tokens, rows=tuple(rows), report=tokens.report.merged(report))


def _made(
    sources: Sequence[Any], others: Sequence[Any], wanted: Sequence[Need], seed: int, report: Report, progress: bool
) -> Iterator[views.Views]:
    names = [need.name for need in wanted]
    with track("making views", len(sources), shown=progress) as advance:
        for source, other in zip(sources, others, strict=True):
            made = views.of_row(views.Given(source, seed, other, 0), wanted)
            for name in names:
                if name not in made:
                    report.add("views without signal", row_number(source), name)
            yield {name: made[name] for name in names if name in made}
            advance(1)


def _encoded(
    sources: Sequence[Any], made: Iterator[views.Views], tokenizer: Any, max_length: int | None, report: Report
) -> Iterator[dict[str, TokenView]]:
    """The views of each row in tokens.  What tokenising repairs was told of the rows already and is not told again."""
    unsaid = Report()
    encoder, renderer = Encoder(tokenizer, unsaid), Renderer(tokenizer, unsaid)
    fit = Fit(max_length, "prompt", encoder.bos, unsaid)
    for start in range(0, len(sources), _CHUNK):
        chunk = [(row_number(source), source.tools, next(made)) for source in sources[start : start + _CHUNK]]
        texts = [
            renderer.render(view.example.prompt, view.example.completion, tools, number)
            for number, tools, parts in chunk
            for view in parts.values()
        ]
        encoded = iter(encoder.encode(texts, [number for number, _, parts in chunk for _ in parts]))
        for number, _, parts in chunk:
            kept = {}
            for name, view in parts.items():
                fitted = fit([TokenSequence(*next(encoded))], number, shared=False)
                if fitted is None:
                    report.add("views too long", number, name)
                    continue
                kept[name] = TokenView(fitted[0], view.columns, scored=not name.endswith("@degraded"))
            yield kept
