"""``assent report RUN [RUN ...] --out FILE``: one HTML page about training runs, written or served."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from assent.errors import AssentError


def report(
    runs: Annotated[list[Path], typer.Argument(help="Output directories of assent train.", metavar="RUN...")],
    out: Annotated[Path | None, typer.Option(help="The page to write. [default: report.html]")] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Serve the page on this machine and follow the run.")] = False,
    serve: Annotated[bool, typer.Option("--serve", help="Serve the page, with the whole text of every pair.")] = False,
    port: Annotated[int | None, typer.Option(help="With --watch or --serve. [default: a free one]")] = None,
    no_text: Annotated[bool, typer.Option("--no-text", help="Leave all prompts and responses out.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one line of JSON on stdout.")] = False,
) -> None:
    """Write one HTML page about training runs: curves, reliabilities, alarms, configuration, card."""
    from assent.cli.options import json_line
    from assent.reporting import run_page
    from assent.reporting.runs import read_all

    if watch or serve:
        if watch and serve:
            raise AssentError("--watch and --serve are both given; --watch follows a run, --serve shows a finished one")
        if out is not None:
            raise AssentError("--out is not read with --watch and --serve, which write no file; leave it out")
        _serve(runs, watch, port or 0, not no_text, as_json)
        return
    if port is not None:
        raise AssentError("--port is read with --watch or --serve only; add one of them or leave it out")
    page = run_page.write(runs, out or Path("report.html"), text=not no_text)
    if as_json:
        found = [run_page.summary(run) for run in read_all(runs)]
        print(json_line({"schema": 1, "page": str(page), "runs": found}))
    else:
        print(f"wrote {page}", file=sys.stderr)


def _serve(runs: list[Path], watch: bool, port: int, text: bool, as_json: bool) -> None:
    """Until Ctrl-C, which is how it is meant to end."""
    from assent.cli.options import json_line
    from assent.reporting import run_page
    from assent.reporting.report_texts import texts_of
    from assent.reporting.serving import PageServer

    make = run_page.served if text else partial(run_page.write, text=False)
    texts = texts_of if text else lambda run, pair: None
    with PageServer(runs, watch=watch, make=make, texts=texts, port=port) as server:
        if as_json:
            print(json_line({"schema": 1, "url": server.url}), flush=True)
        else:
            what = "follows" if watch else "shows"
            print(f"{server.url} {what} {', '.join(map(str, runs))}; Ctrl-C ends it", file=sys.stderr, flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            return
