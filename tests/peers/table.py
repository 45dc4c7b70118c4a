"""docs/names.md from the list of cases.

PYTHONPATH=tests python -m peers.table --write docs/names.md     the page, from cases.py and losses.csv
PYTHONPATH=tests python -m peers.table --measure                 losses.csv anew; needs TRL
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

from assent import AssentError
from peers import ours
from peers.cases import CASES, FREE, LABELLED, PAIRS, VERSION, Case

LOSSES = Path(__file__).with_name("losses.csv")
PROSE = Path(__file__).with_name("names.md")
"""The page with one line ``{{NAME}}`` where each table goes."""
TABLES = {"PAIRS": PAIRS, "LABELLED": LABELLED, "FREE": FREE}
Losses = dict[tuple[str, str, str], tuple[float, float | None]]


def recorded() -> Losses:
    """Key of a case -> TRL's loss and ours in nats; None where the expression is refused."""
    with LOSSES.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return {
        (r["trainer"], r["settings"], r["expression"]): (float(r["trl"]), float(r["ours"]) if r["ours"] else None)
        for r in rows
    }


def our_loss(case: Case) -> float | None:
    """Our loss of the batch; None where the expression is refused."""
    try:
        return ours.loss(case.expression)
    except AssentError:
        return None


def measure() -> None:
    """Compute all losses on both sides and write losses.csv."""
    from peers import trl_side

    with LOSSES.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["trainer", "settings", "expression", "trl", "ours"])
        for case in CASES:
            mine = our_loss(case)
            theirs = trl_side.loss(case.trainer, case.settings)
            writer.writerow([*case.key, f"{theirs:.6f}", "" if mine is None else f"{mine:.6f}"])


def rows(cases: list[Case]) -> str:
    """The cases as a table of Markdown."""
    losses = recorded()
    lines = ["| TRL | its fields | here | | TRL's loss | ours | why |", "|---|---|---|---|---|---|---|"]
    for case in cases:
        theirs, mine = losses[case.key]
        shown = "refused" if mine is None else f"{mine:.4f}"
        kind = "same" if case.same else "**differs**"
        fields = case.spelling.replace("|", "\\|")
        lines.append(
            f"| {case.trainer} | `{fields}` | `{case.expression}` | {kind} | {theirs:.4f} | {shown} | {case.why} |"
        )
    return "\n".join(lines)


def page() -> str:
    """The whole of docs/names.md."""
    text = PROSE.read_text(encoding="utf-8").replace("{{VERSION}}", VERSION)
    for name, cases in TABLES.items():
        text = text.replace(f"{{{{{name}}}}}", rows(cases))
    return text


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--measure", action="store_true", help="compute the losses anew (needs TRL)")
    parser.add_argument("--write", type=Path, help="where to write the page")
    given = parser.parse_args()
    if given.measure:
        measure()
    if given.write:
        given.write.write_text(page(), encoding="utf-8")
