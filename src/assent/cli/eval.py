"""``assent eval``: how a model ranks held-out preferences."""

from __future__ import annotations

import sys
from typing import Annotated

import typer


def eval(
    model: Annotated[str, typer.Option(help="Model to evaluate: a directory, an adapter's directory or a hub id.")],
    data: Annotated[str, typer.Option(help="Preferences to rank: a file, a datasets directory or a hub id.")],
    objective: Annotated[str, typer.Option(help="Objective whose implicit reward ranks.")] = "dpo()",
    reference: Annotated[str | None, typer.Option(help="Model that training started from.")] = None,
    columns: Annotated[list[str] | None, typer.Option(help="Column names, old=new; may be repeated.")] = None,
    max_length: Annotated[int | None, typer.Option(help="Longest prompt with completion, in tokens.")] = None,
    batch_size: Annotated[int, typer.Option(help="Pairs scored at once.")] = 16,
    dtype: Annotated[str, typer.Option(help="Number format of the weights.")] = "auto",
    json: Annotated[bool, typer.Option("--json", help="Print one line of JSON.")] = False,
) -> None:
    """Rank held-out pairs by the implicit reward of a model and tell how often the labels agree."""
    from assent.cli.options import renames
    from assent.evaluation import evaluate

    found = evaluate(
        model,
        data,
        objective=objective,
        reference=reference,
        columns=renames(columns),
        max_length=max_length,
        batch_size=batch_size,
        dtype=dtype,
    )
    if json:
        from assent.cli.options import json_line

        print(json_line(found.as_dict()))
        return
    for name, value in found.as_dict().items():
        if name == "schema":  # of the JSON
            continue
        whole = isinstance(value, float) and name == "labels" and value == int(value)  # a weighted count
        shown = f"{value:,.0f}" if whole else f"{value:.4f}" if isinstance(value, float) else value
        print(f"{name:<14} {shown}", file=sys.stdout)
