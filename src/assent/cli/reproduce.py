"""assent reproduce: check a paper's statements on small worlds."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Annotated, Any

import typer

PUBLISHED = 100  # published figures use seeds 100 to 104; development uses 0 to 9


def reproduce(
    slug: Annotated[str | None, typer.Argument(help="The paper; assent papers lists them.")] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Every paper and its tests; writes docs/claims.md and docs/papers.md.")
    ] = False,
    seed: Annotated[
        int | None, typer.Option(help="First of five seeds.  [default: 0, with --all 100]", show_default=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one line of JSON.")] = False,
) -> None:
    """Check the statements of a paper on small worlds with known truth, and say which are supported."""
    from assent.errors import AssentError

    if (slug is None) != everything:
        raise AssentError("reproduce needs one paper or --all, not both; assent papers lists the papers")
    if everything:
        found = _everything(PUBLISHED if seed is None else seed)
        if as_json:
            print(json.dumps({"schema": 1, "papers": list(found.values())}))
        return
    from assent.papers.registry import reproduce as run

    result = run(slug, 0 if seed is None else seed, progress=_tell)
    if as_json:
        print(json.dumps(result))
    else:
        show(result)


def _tell(what: str) -> None:
    print(f"assent: {what} ...", file=sys.stderr, flush=True)


def _everything(seed: int) -> dict[str, Any]:
    """Run all papers and their tests, store the results, write the pages."""
    from assent.papers import pages, registry, results

    root, found = results.checkout(), {}
    for slug in registry.SLUGS:
        found[slug] = registry.reproduce(slug, seed, progress=_tell) | {"seed": seed}
        paper = registry.paper(slug)
        _tell(f"tests of {slug}")
        found[slug]["tests"] = {
            "formula": results.run_tests(paper.formula_tests, root),
            "model": results.run_tests(paper.model_tests, root),
        }
    results.store(found)
    results.write(root / "docs" / "claims.md", pages.claims_page(found))
    results.write(root / "docs" / "papers.md", pages.papers_page(results.listing()))
    _tell("wrote docs/claims.md and docs/papers.md")
    return found


def show(result: Mapping[str, Any]) -> None:
    """Print the claims as a table, their figures and the counts per source."""
    from rich.console import Console
    from rich.table import Table

    from assent.papers.pages import cells, tally

    colour = {"supported": "green", "refuted": "red", "unclear": "yellow"}
    table = Table("statement", "source", "predicted", "measured", "tolerance", "outcome", show_lines=True)
    for claim in result["claims"]:
        rows = cells(claim)
        table.add_row(
            f"[bold]{claim['name']}[/bold]\n{claim['statement']}",
            claim["source"],
            "\n".join(f"{name}: {predicted}" for name, predicted, _ in rows if predicted),
            "\n".join(f"{name}: {measured}" for name, _, measured in rows),
            str(claim["tolerance"]),
            f"[{colour[claim['outcome']]}]{claim['outcome']}[/]",
        )
    console = Console()
    console.print(table)
    for line in tally(result["claims"]):
        console.print(line)
    console.print(f"{result['seconds']:.0f} s")
