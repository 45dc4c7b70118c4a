"""assent reproduce: check a paper's statements on small worlds."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

PUBLISHED = 100  # published figures use seeds 100 to 104; development uses 0 to 9


def reproduce(
    slug: Annotated[str | None, typer.Argument(help="The paper; assent papers lists them.")] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Every paper, with --publish.  Takes a minute a paper.")
    ] = False,
    publish: Annotated[
        bool,
        typer.Option(
            "--publish", help="Run the paper's tests too, store the results, write docs/claims.md, papers.md."
        ),
    ] = False,
    seed: Annotated[
        int | None, typer.Option(help="First of five seeds.  [default: 0; 100 to publish]", show_default=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one line of JSON.")] = False,
) -> None:
    """Check the statements of a paper on small worlds with known truth, and say which are supported."""
    from assent.errors import AssentError

    if (slug is None) != everything:
        raise AssentError("reproduce needs one paper or --all, not both; assent papers lists the papers")
    if everything and publish:
        raise AssentError("reproduce --all publishes already; leave --publish out")
    if everything or publish:
        from assent.papers.registry import SLUGS, paper

        slugs = SLUGS if slug is None else (paper(slug).slug,)
        found = _publish(slugs, PUBLISHED if seed is None else seed)
        if as_json:
            print(json.dumps({"schema": 1, "papers": [found[slug] for slug in slugs]}))
        return
    from assent.papers.registry import reproduce as run

    result = run(slug, 0 if seed is None else seed, progress=_tell)
    if as_json:
        print(json.dumps(result))
    else:
        show(result)


def _tell(what: str) -> None:
    print(f"assent: {what} ...", file=sys.stderr, flush=True)


def _publish(slugs: Sequence[str], seed: int) -> dict[str, Any]:
    """Run papers and their tests, store the results beside those of the others, write the pages."""
    from assent.papers import pages, registry, results

    root, known = results.checkout(), results.stored()
    for slug in slugs:
        known[slug] = registry.reproduce(slug, seed, progress=_tell) | {"seed": seed}
        paper = registry.paper(slug)
        _tell(f"tests of {slug}")
        known[slug]["tests"] = {
            "formula": results.run_tests(paper.formula_tests, root),
            "model": results.run_tests(paper.model_tests, root),
        }
    found = {slug: known[slug] for slug in registry.SLUGS if slug in known}
    results.store(found)
    results.write(root / "docs" / "claims.md", pages.claims_page(found))
    results.write(root / "docs" / "papers.md", pages.papers_page(results.listing()))
    print("assent: wrote docs/claims.md and docs/papers.md", file=sys.stderr)
    return found


def show(result: Mapping[str, Any]) -> None:
    """Print the claims as a table, their figures and the counts per source."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from assent.papers.pages import allowed, cells, tally

    colour = {"supported": "green", "refuted": "red", "unclear": "yellow"}
    table = Table("statement", show_lines=True)
    for name in ("", "predicted", "measured"):  # one line a cell: these columns never wrap
        table.add_column(name, no_wrap=True)
    for claim in result["claims"]:
        columns = ("\n".join(map(escape, column)) for column in zip(*cells(claim), strict=True))
        verdict = f"[{colour[claim['outcome']]}]{claim['outcome']}[/]"
        says = f"{escape(claim['statement'])}\n{claim['source']}; {allowed(claim)}: {verdict}"
        table.add_row(f"[bold]{claim['name']}[/bold]\n{says}", *columns)
    console = Console()
    console.print(table)
    for line in tally(result["claims"]):
        console.print(line)
    console.print(f"{result['seconds']:.0f} s")
