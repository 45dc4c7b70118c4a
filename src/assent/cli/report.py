"""``assent report RUN [RUN ...] --out FILE``: one HTML page about training runs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer


def report(
    runs: Annotated[list[Path], typer.Argument(help="Output directories of assent train.", metavar="RUN...")],
    out: Annotated[Path, typer.Option(help="The page to write.")] = Path("report.html"),
    as_json: Annotated[bool, typer.Option("--json", help="Print one line of JSON on stdout.")] = False,
) -> None:
    """Write one HTML page about training runs: curves, reliabilities, alarms, configuration, card."""
    from assent.cli.options import json_line
    from assent.reporting import run_page
    from assent.reporting.runs import read_all

    page = run_page.write(runs, out)
    if as_json:
        found = [run_page.summary(run) for run in read_all(runs)]
        print(json_line({"schema": 1, "page": str(page), "runs": found}))
    else:
        print(f"wrote {page}", file=sys.stderr)
