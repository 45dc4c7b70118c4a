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
    from rich.table import Table

    table = Table("slug", "title", "arXiv", "formula", "mechanism", "real architecture", "paper's setting")
    for row in found:
        table.add_row(row["slug"], row["title"], row["arxiv"], *row["marks"].values())
    Console().print(table)
