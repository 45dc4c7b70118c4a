"""assent papers: the papers that have a page here, and how far each is shown to work."""

from __future__ import annotations

import json
from typing import Annotated

import typer


def papers(as_json: Annotated[bool, typer.Option("--json", help="Print one line of JSON.")] = False) -> None:
    """List the papers that have a page here.

    Formula: its tests' last result.  Mechanism: the outcomes of the paper's statements on small worlds.  Real
    architecture: the last result of the tests on a real model class.  The paper's own setting is never claimed.
    """
    from assent.papers.results import listing

    found = listing()
    if as_json:
        print(json.dumps({"schema": 1, "papers": found}))
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table("slug and paper", show_lines=True)
    for name in ("formula", "mechanism", "real model", "own setting"):
        table.add_column(name, no_wrap=True)
    for row in found:
        paper = f"[bold]{row['slug']}[/bold]  arXiv {row['arxiv']}\n{escape(row['title'])}"
        table.add_row(paper, *row["marks"].values())
    Console().print(table)
