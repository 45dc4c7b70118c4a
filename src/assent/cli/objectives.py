"""assent objectives: the catalogue, one line each, or its generated pages."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def objectives(
    as_json: Annotated[bool, typer.Option("--json", help="Print one line of JSON.")] = False,
    write_docs: Annotated[Path | None, typer.Option(help="Write a page and a plot for each into this folder.")] = None,
) -> None:
    """List every objective and wrapper that an expression may use.

    Name, kind, the rows it reads, what a scorer must provide, its state, its defaults and its paper.
    """
    from assent.cli.options import json_line
    from assent.reporting import objective_facts, objective_page

    if write_docs is not None:
        typer.echo(f"{objective_page.write(write_docs)} pages in {write_docs}", err=True)
        if not as_json:
            return
    found = [objective_facts.facts(name) for name in objective_facts.names()]
    if as_json:
        print(json_line({"schema": 1, "objectives": found}))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("name", "kind", "rows", "needs", "state", "defaults", "paper", "equation")
    for row in found:
        shown = ", ".join(f"{k}={v!r}" if v is not None else k for k, v in row["defaults"].items())
        needs, state = ", ".join(row["needs"]), ", ".join(row["state"])
        table.add_row(row["name"], row["kind"], row["data"], needs, state, shown, row["paper"], row["equation"])
    Console().print(table)
