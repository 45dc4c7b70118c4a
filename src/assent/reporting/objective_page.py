"""The generated pages of the catalogue: docs/objectives/NAME.md with a plot each, and their list."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from assent.reporting import objective_facts as known
from assent.reporting.objective_plot import curve, plot
from assent.reporting.plots import picture

HEAD = "Written by `assent objectives --write-docs docs/objectives`; do not edit."


def page(name: str, drawn: bool) -> str:
    """One objective as Markdown: formula, fields, needs, other tools' names, and a plot beside it."""
    found = known.facts(name)
    lines = [f"# {name}", "", HEAD, "", known.source_line(name), ""]
    lines += [f"```\n{found['canonical']}\n```", ""]
    if found["alias_of"]:
        lines += [f"`{name}` is an alias: it parses to the expression above.", ""]
    lines += [known.text_of(name), ""]
    lines += ["| field | default |", "|---|---|"]
    lines += [f"| `{field}` | {_shown(value)} |" for field, value in found["defaults"].items()]
    lines += ["", "| fact | |", "|---|---|", *(f"| {key} | {value} |" for key, value in _facts(found)), ""]
    if told := known.other_tools(name):
        lines += ["Other tools:", "", *(f"- `{field}`: {sentence}." for field, sentence in told.items()), ""]
    if drawn:
        what = "Loss and pair weights" if found["data"] == "pairs" else "Loss"
        lines += [
            f"![{what} against the margin](images/{name}.svg)", "",
            "Ten tokens a side; the margin is half a rise of the chosen and half a fall of the rejected completion. The update",
            "of a pair is d_w times the gradient of the chosen log-probability less d_l times that of the rejected one.", "",
        ]  # fmt: skip
    return "\n".join(lines)


def _facts(found: dict[str, Any]) -> list[tuple[str, str]]:
    paper = f"[{found['paper']}](https://arxiv.org/abs/{found['paper']})" if found["paper"] else "none"
    return [
        ("paper", paper + (f", eq. {found['equation']}" if found["equation"] else "")),
        ("kind", found["kind"]),
        ("rows", found["data"]),
        ("the step's mean is over", {"row": "row weights", "token": "counted tokens"}[found["mean_over"]]),
        ("rows depend on each other", found["couples"]),
        ("needs", ", ".join(found["needs"]) or "nothing but log-probabilities"),
        ("state", ", ".join(f"`{name}`" for name in found["state"]) or "none"),
    ]


def _shown(value: Any) -> str:
    return "must be given" if value is None else f"`{value!r}`"


def index(names: list[str]) -> str:
    """docs/objectives/README.md: all of them in one table."""
    lines = ["# Objectives", "", HEAD, "", f"{len(names)} names; wrappers take any pairwise objective.", ""]
    lines += ["| name | kind | rows | needs | paper | |", "|---|---|---|---|---|---|"]
    for name in names:
        found = known.facts(name)
        needs = ", ".join(found["needs"])
        what = f"alias of `{found['alias_of']}`" if found["alias_of"] else found["summary"].replace("|", "\\|")
        lines.append(
            f"| [{name}]({name}.md) | {found['kind']} | {found['data']} | {needs} | {found['paper']} | {what} |"
        )
    return "\n".join([*lines, ""])


def pages() -> dict[str, str]:
    """File name -> text of every generated page, without the plots."""
    names = known.names()
    found = {f"{name}.md": page(name, _has_plot(name)) for name in names}
    return {"README.md": index(names)} | found


def _has_plot(name: str) -> bool:
    return curve(known.example(name)) is not None


def write(folder: Path) -> int:
    """Write all pages and plots; pages of names that are gone are removed.  Gives the number of objectives."""
    folder.mkdir(parents=True, exist_ok=True)
    written = pages()
    for name, text in written.items():
        (folder / name).write_text(text, encoding="utf-8")
    for path in folder.glob("*.md"):
        if path.name not in written:
            path.unlink()
    images = folder / "images"
    names = [name for name in known.names() if _has_plot(name)]
    for name in names:
        picture(plot(known.example(name), name), images / f"{name}.svg")
    for path in images.glob("*.svg"):
        if path.stem not in names:
            path.unlink()
    return len(written) - 1
