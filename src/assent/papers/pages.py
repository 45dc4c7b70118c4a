"""The generated pages: docs/claims.md (every statement with its figures) and docs/papers.md (papers and marks)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from assent.papers.claims import counts

_HEAD = """# Claims

Written by `assent reproduce SLUG --publish`; do not edit.  Source "paper" is what a paper claims, here checked on a
small world with known truth; source "sheet" is what a prototype of this project predicted.  Measured values are means
over the seeds.  How the verdicts are reached: `assent.papers.claims`.  Nothing here is about a paper's own setting.
"""


def number(value: float | str | None) -> str:
    """A figure for people: five significant digits at most, small ones in powers of ten; words stay as they are."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if value == 0:
        return "0"
    return f"{value:.1e}" if abs(value) < 1e-3 else f"{value:.5g}" if abs(value) < 1000 else f"{value:.0f}"


def tally(claims: Sequence[Mapping[str, Any]]) -> list[str]:
    """One line a source: "paper: 4 supported, 1 refuted, 0 unclear"."""
    return [
        f"{source}: " + ", ".join(f"{n} {outcome}" for outcome, n in outcomes.items())
        for source, outcomes in counts(claims).items()
    ]


def cells(claim: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """(cell, predicted, measured) of a claim, predictions first."""
    predicted, measured = claim["predicted"], claim["measured"]
    names = [*predicted, *(name for name in measured if name not in predicted)]
    return [(name, number(predicted.get(name)), number(measured.get(name))) for name in names]


def allowed(claim: Mapping[str, Any]) -> str:
    """The claim's tolerance in words."""
    tolerance = claim["tolerance"]
    return tolerance if isinstance(tolerance, str) else f"within {tolerance:g}"


def claims_page(found: Mapping[str, Mapping[str, Any]]) -> str:
    """docs/claims.md from the stored results by slug."""
    parts = [_HEAD]
    for slug, result in found.items():
        parts.append(f"## {slug}\n")
        command = f"assent reproduce {slug} --seed {result['seed']}"
        parts.append(f"`{command}`, {result['seconds']:.0f} s.\n")
        parts.append("\n".join(f"- {line}" for line in tally(result["claims"])) + "\n")
        rows = [f"| [{c['name']}](#{slug}-{c['name']}) | {c['source']} | {c['outcome']} |" for c in result["claims"]]
        parts.append("\n".join(["| statement | source | outcome |", "|---|---|---|", *rows]) + "\n")
        parts.extend(_claim(slug, claim) for claim in result["claims"])
    return "\n".join(parts)


def _claim(slug: str, claim: Mapping[str, Any]) -> str:
    seeds = claim["seeds"]
    basis = f"seeds {seeds[0]} to {seeds[-1]}" if seeds else "nothing random"
    rows = [
        f"| {name} | {predicted} | {measured} |".replace("|theta|", "\\|theta\\|")
        for name, predicted, measured in cells(claim)
    ]
    return "\n".join([
        f"### <a id=\"{slug}-{claim['name']}\"></a>{claim['name']}: {claim['outcome']}",
        "",
        claim["statement"],
        f"Source: {claim['source']}; {allowed(claim)}; {basis}.",
        "",
        "| | predicted | measured |",
        "|---|---|---|",
        *rows,
        "",
    ])  # fmt: skip


def papers_page(listing: Sequence[Mapping[str, Any]]) -> str:
    """docs/papers.md from `results.listing`."""
    head = (
        "# Papers\n\nWritten by `assent reproduce SLUG --publish`; do not edit.  Formula: identities tested.  Mechanism: the "
        "paper's statements on a small world ([figures](claims.md)).\nReal architecture: runs on a real model class "
        "through the loading code that users use.  The paper's own setting is never claimed here.\n"
    )
    rows = [
        f"| {p['slug']} | [{p['title']}](https://arxiv.org/abs/{p['arxiv']}) | `{p['objective']}` | "
        f"{p['marks']['formula']} | {p['marks']['mechanism']} | {p['marks']['real_architecture']} |"
        for p in listing
    ]
    table = ["| slug | paper | objective | formula | mechanism | real architecture |", "|---|---|---|---|---|---|"]
    return "\n".join([head, *table, *rows, ""])
