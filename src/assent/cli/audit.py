"""``assent audit FILE``: how far preference data can be trusted, label by label."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from assent.errors import AssentError


def audit(
    file: Annotated[str, typer.Argument(help="Pairs or judgements: a file, a datasets directory or a hub id.")],
    out: Annotated[Path | None, typer.Option(help="Folder for audit.parquet, audit.json and audit.html.")] = None,
    scorer: Annotated[str, typer.Option(help="text, lm:MODEL, policy:POLICY,REFERENCE or logits:COLUMN.")] = "text",
    features_from: Annotated[
        list[str] | None, typer.Option(help="Columns that join the text scorer's features, comma-separated.")
    ] = None,
    columns: Annotated[list[str] | None, typer.Option(help="old=new: rename a column of the data.")] = None,
    bad_rows: Annotated[str, typer.Option(help="fail or skip: what a malformed row does.")] = "fail",
    write_clean: Annotated[
        str | None, typer.Option(help="drop, flip or weight: write a cleaned copy into --out.")
    ] = None,
    apply: Annotated[
        Path | None, typer.Option(help="decisions.jsonl: carry decisions out, writing a copy into --out; no audit.")
    ] = None,
    no_text: Annotated[bool, typer.Option("--no-text", help="Leave all texts out of the page.")] = False,
    seed: Annotated[int, typer.Option(help="Seed of the folds.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one line of JSON on stdout.")] = False,
) -> None:
    """Tell how far preference data can be trusted: every label, every annotator, the whole of it."""
    from assent.cli.options import json_line, renames

    if (write_clean or apply or no_text) and out is None:
        option = "--write-clean" if write_clean else "--apply" if apply else "--no-text"
        raise AssentError(f"{option} needs --out FOLDER to write into; add it")
    if apply is not None:
        if write_clean or no_text or features_from or columns or scorer != "text" or bad_rows != "fail":
            raise AssentError(
                "--apply carries out decisions and audits nothing; pass FILE, --out and --json beside it only"
            )
        _apply(file, apply, out, as_json)
        return
    if write_clean is not None:
        from assent.auditing.decisions import check_clean

        check_clean(write_clean)
    from assent.auditing.run import audit as run

    named = [part.strip() for entry in features_from or () for part in entry.split(",") if part.strip()]
    with _bar() as progress:
        result = run(
            file, out=out, scorer=scorer, features_from=named, columns=renames(columns), bad_rows=bad_rows,
            seed=seed, progress=progress,
        )  # fmt: skip
    if out is not None:
        _write_beside(result, file, out, write_clean, not no_text)
    if as_json:
        print(json_line(result.to_json()))
    else:
        _table(result)


def _write_beside(result: Any, file: str, out: Path, clean: str | None, text: bool) -> None:
    """The page, and the cleaned copy where one was asked for."""
    from assent.reporting import audit_page

    view = result.view(text)
    view["command"] = " ".join(["assent", *sys.argv[1:]]) if sys.argv[1:2] == ["audit"] else ""
    print(f"wrote {audit_page.write(view, out / 'audit.html', text=text)}", file=sys.stderr)
    if clean is not None:
        from assent.auditing.decisions import default_clean_path, write_clean

        path = out / default_clean_path(file, clean)
        counts = write_clean(result, file, clean, path)
        print(
            f"wrote {path}: {counts['rows']:,} rows, {counts['changed']:,} of them changed, "
            f"{counts['left_out']:,} left out",
            file=sys.stderr,
        )


def _apply(file: str, decisions: Path, out: Path | None, as_json: bool) -> None:
    from assent.auditing.decisions import apply_decisions, default_clean_path, read_decisions
    from assent.auditing.result import make_folder
    from assent.cli.options import json_line
    from assent.data.sources import open_source

    source = open_source(file)
    rows = sum(1 for _ in source.rows())
    found = read_decisions(decisions, source.fingerprint(), rows)
    assert out is not None
    path = make_folder(out) / default_clean_path(file, "decided")
    counts = apply_decisions(file, found, path)
    if as_json:
        print(json_line({"schema": 1, "file": str(path), **counts}))
    else:
        print(
            f"wrote {path}: {counts['rows']:,} of {rows:,} rows; {counts['right']:,} confirmed, {counts['flip']:,} "
            f"flipped, {counts['drop']:,} dropped",
            file=sys.stderr,
        )


@contextmanager
def _bar() -> Iterator[Any]:
    """A progress bar on stderr where that is a terminal; one line a stage elsewhere."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    if not console.is_terminal:
        yield None
        return
    with Progress(console=console, transient=True) as bar:
        tasks: dict[str, Any] = {}

        def progress(stage: str, share: float) -> None:
            if stage not in tasks:
                tasks[stage] = bar.add_task(stage, total=1.0)
            bar.update(tasks[stage], completed=share)

        yield progress


def _table(result: Any) -> None:
    """The audit in the terminal: the verdict, the annotators, flags and decisions."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from assent.auditing.result import length_sentence
    from assent.reporting.audit_page import verdict
    from assent.reporting.text import short, visible

    found = result.details()
    console = Console(highlight=False, soft_wrap=True)
    say = lambda sentence: console.print(Text(visible(sentence)))  # noqa: E731
    say(f"{verdict(found)}: noise rate {_share(found['noise_rate'])}, 95 % interval "
        f"{_share(found['noise_rate_low'])} to {_share(found['noise_rate_high'])}, "
        f"{found['labels']:,} labels on {found['pairs']:,} pairs.")  # fmt: skip
    for sentence in result.limits:
        say(sentence)
    table = Table("annotator", *("labels", "reliability", "95 % interval", "agreement"))
    for column in table.columns[1:]:
        column.justify = "right"
    rows = sorted(range(len(result.counts)), key=lambda k: -result.reliability[k])
    for k in rows[:10] + rows[10:][-10:]:
        agreement = result.agreement[k]
        table.add_row(
            Text(short(result.table.names[k])), f"{result.counts[k]:,}", _share(result.reliability[k]),
            f"{_share(result.low[k])} - {_share(result.high[k])}", _share(agreement) if agreement == agreement else "-",
        )  # fmt: skip
    console.print(table)
    if len(rows) > 20:
        say(f"{len(rows) - 20:,} annotators between them are not shown; audit.json has them all.")
    flags = ", ".join(f"{n:,} {name.replace('_', ' ')}" for name, n in result.flag_counts().items() if n)
    say(f"Flags: {flags or 'none'}.")
    if result.length_bias:
        say(length_sentence(result.length_bias))
    counts = result.decision_counts()
    say(f"Decision: keep {counts['keep']:,}, look at {counts['look']:,}, drop {counts['drop']:,} labels.")
    say(result.plain_dpo)
    for note in result.notes:
        say(f"Note: {note}")
    say(f"Took {result.seconds:.1f} s.")


def _share(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f} %"
