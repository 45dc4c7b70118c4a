"""``assent inspect``: what a preference file means, row by row and in counts."""

from __future__ import annotations

import sys
from typing import Annotated, Any, Literal

import typer

_LOSS = 0.05


def inspect(
    file: Annotated[str, typer.Argument(help="A data file, a datasets directory or a hub id.")],
    model: Annotated[str | None, typer.Option(help="Model whose tokenizer shows the tokens and masks.")] = None,
    columns: Annotated[list[str] | None, typer.Option(help="Column names, old=new; may be repeated.")] = None,
    kind: Annotated[
        str | None, typer.Option(help="pairs, judgements, labelled, groups or sft; found by default.")
    ] = None,
    split: Annotated[str, typer.Option(help="Split of a datasets directory or hub id.")] = "train",
    rows: Annotated[int, typer.Option(help="Rows to print.", min=0)] = 3,
    max_length: Annotated[int | None, typer.Option(help="Longest prompt with completion, in tokens.")] = None,
    truncation: Annotated[
        Literal["prompt", "drop"] | None,
        typer.Option(help="What is too long: its prompt is cut from the left, or the row is dropped; default prompt."),
    ] = None,
    bad_rows: Annotated[
        Literal["fail", "skip"],
        typer.Option(help="Malformed rows: stop at the first, or write them to bad_rows.jsonl."),
    ] = "fail",
    trust_remote_code: Annotated[bool, typer.Option(help="Run code that the model's repository carries.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one line of JSON instead.")] = False,
) -> None:
    """Print rows with tokens coloured by mask, and a table of every drop, truncation and repair with its count."""
    from assent.cli.options import json_line, renames
    from assent.data import read, tokenise
    from assent.errors import AssentError

    if model is None and not max_length is truncation is None:
        raise AssentError("--max-length and --truncation cut tokens; give --model so that there are any")
    if model is None and trust_remote_code:
        raise AssentError("--trust-remote-code is about a model's tokenizer; give --model, or leave it out")
    tokenizer = None
    if model is not None:
        from assent.scoring.loading import load_tokenizer

        tokenizer = load_tokenizer(model, trust_remote_code=trust_remote_code)
    records = read(file, columns=renames(columns), kind=kind, split=split, bad_rows=bad_rows)
    tokens = None
    if tokenizer is not None:
        tokens = tokenise(
            records,
            tokenizer,
            max_length=max_length,
            truncation=truncation or "prompt",
            allow_loss=True,
            progress=not json,
        )
    if json:
        print(json_line(_summary(records, tokens)))
        return
    colour = _has_colour()
    for text in _shown(records, tokens, tokenizer, rows, colour):
        print(text)
    _tables(records, tokens, colour)


def _has_colour() -> bool:
    """A terminal, or FORCE_COLOR; not with NO_COLOR."""
    from rich.console import Console

    console = Console(file=sys.stdout)
    return console.is_terminal and not console.no_color


def _shown(records: Any, tokens: Any, tokenizer: Any, count: int, colour: bool) -> list[str]:
    """The first rows, each as one text for the terminal."""
    from dataclasses import replace

    from assent.data import inspection, tokenise

    first = replace(records, rows=records.rows[:count])
    titles = [f"{_what(records.kind)} {i}  (row {_row(row)} of {records.source})" for i, row in enumerate(first.rows)]
    if tokens is None:
        shown = zip(first.rows, titles, strict=True)
        return [inspection.show_record(row, title=title, colour=colour) for row, title in shown]
    kept = {row.index: row for row in tokens.rows if row.index < count}
    if not first.rows:
        return []
    whole = tokenise(first, tokenizer, max_length=2**31 - 1, allow_loss=True, progress=False)
    legend = inspection.LEGEND if colour else inspection.PLAIN_LEGEND
    out = [legend + "\n"]
    for row in whole.rows:
        title = titles[row.index]
        if row.index in kept:
            out.append(inspection.show(kept[row.index], tokenizer, row, title=title, colour=colour))
        else:
            out.append(inspection.lost(row, tokenizer, title=title, colour=colour))
    return out


def _what(kind: str) -> str:
    return {"pairs": "pair", "groups": "group"}.get(kind, "example")


def _row(row: Any) -> int:
    labels = getattr(row, "labels", None)
    return labels[0].rows[0] if labels and labels[0].rows else row.row


def _tables(records: Any, tokens: Any, colour: bool) -> None:
    """What was read, and every named event with its count."""
    from rich.console import Console
    from rich.table import Table

    from assent.data.inspection import printable

    console = Console(file=sys.stdout, highlight=False, markup=False, emoji=False, width=None if colour else 160)
    report = records.report if tokens is None else records.report.merged(tokens.report)
    table = Table(title=f"{records.source}: {_counts(records, tokens)}", title_justify="left")
    table.add_column("event")
    table.add_column("kind")
    table.add_column("count", justify="right")
    table.add_column("what it means")
    table.add_column("where (rows counted from 0)")
    for name, kind, count, sentence, examples in report.table():
        table.add_row(name, kind, f"{count:,}", sentence, printable(examples))
    console.print(table)
    if tokens is not None and tokens.lost > _LOSS * tokens.total:
        share = tokens.lost / tokens.total
        console.print(
            f"{share:.1%} of the rows are lost, more than {_LOSS:.0%}: training refuses that unless --allow-loss is given"
        )


def _counts(records: Any, tokens: Any) -> str:
    unit = {"pairs": "pairs", "groups": "groups"}.get(records.kind, "rows")
    text = f"{records.n_rows:,} rows, {len(records):,} {unit}"
    if records.kind == "pairs":
        labels = sum(len(pair.labels) for pair in records.rows)
        names = len(records.annotators)
        text += f", {labels:,} labels by {names:,} annotator{'s' if names > 1 else ''}"
    if tokens is not None:
        limit = f" (at most {tokens.max_length:,} tokens)" if tokens.max_length else ""
        text += f", {len(tokens):,} kept{limit}"
    return text


def _summary(records: Any, tokens: Any) -> dict[str, Any]:
    report = records.report if tokens is None else records.report.merged(tokens.report)
    out: dict[str, Any] = {
        "schema": 1, "source": records.source, "fingerprint": records.fingerprint, "kind": records.kind,
        "rows_read": records.n_rows, "rows": len(records), "annotators": list(records.annotators),
        "events": report.to_json(),
    }  # fmt: skip
    if records.kind == "pairs":
        out["labels"] = sum(len(pair.labels) for pair in records.rows)
    if tokens is not None:
        out["tokens"] = {
            "rows": len(tokens), "lost": tokens.lost, "max_length": tokens.max_length,
            "prompt": _spread([s.prompt_length for s in _sequences(tokens)]),
            "counted": _spread([int(s.mask.sum()) for s in _sequences(tokens)]),
        }  # fmt: skip
    return out


def _sequences(tokens: Any) -> list[Any]:
    from assent.data.inspection import parts

    return [sequence for row in tokens.rows for _, sequence in parts(row)]


def _spread(values: list[int]) -> dict[str, float]:
    """Median, 95th percentile and maximum of a list of lengths."""
    import numpy as np

    return {
        "median": float(np.median(values)),
        "p95": float(np.percentile(values, 95)),
        "max": float(max(values)),
        "total": float(sum(values)),
    }
