"""assent explain NAME: one objective's formula, fields and limits, drawn against its margin."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

BARS = "▁▂▃▄▅▆▇█"
WIDTH = 64


def explain(
    name: Annotated[str, typer.Argument(help="An objective's name, or an expression such as 'lcpo(simpo())'.")],
    out: Annotated[Path | None, typer.Option(help="Draw the plot into this file: .png or .svg.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one line of JSON.")] = False,
) -> None:
    """Print formula, symbols, units, defaults, limits and other tools' names; draw loss and pair weights.

    An expression is drawn as it is; what is said of it is said of its outermost part.
    """
    from assent.cli.options import json_line
    from assent.logic.standing import standing
    from assent.objectives import parse
    from assent.reporting import objective_facts as known
    from assent.reporting.objective_plot import curve

    objective = parse(name) if "(" in name else known.example(name)
    own = objective.name if "(" in name else name
    found = known.facts(own) if own in known.names() else {"name": own}
    found |= known.wants(objective) | {"logic": standing(objective)}
    drawn = curve(objective)
    if out is not None:
        _draw(objective, name, out)
    if as_json:
        curves = None if drawn is None else {"margin": drawn.x, "loss": drawn.loss, "pair_weights": drawn.weights}
        print(json_line({"schema": 1, **found, "curves": curves}))
        return
    print(_text(own, str(objective), found))
    for label, values in ({} if drawn is None else drawn.loss | drawn.weights).items():
        print(f"  {label:<12} {_bars(values)}  {min(values):.3g} to {max(values):.3g}")
    if drawn is not None:
        print(f"  {'':<12} margin from {drawn.x[0]:g} to {drawn.x[-1]:g} nats per sequence, ten tokens a side")


def _text(own: str, text: str, found: dict[str, Any]) -> str:
    from assent.cli.logic import standing_lines
    from assent.reporting import objective_facts as known

    lines = [text, ""]
    if "family" in found:
        lines += [known.source_line(own), "", known.text_of(own), ""]
    lines.append("needs: " + (", ".join(found["needs"]) or "nothing but log-probabilities"))
    lines.append("state: " + (", ".join(found["state"]) or "none"))
    lines += ["", *(line for place in found["logic"] for line in standing_lines(place))]
    lines += [f"elsewhere, {field}: {sentence}" for field, sentence in known.other_tools(own).items()]
    return "\n".join([*lines, ""])


def _bars(values: list[float]) -> str:
    """A line of bars, lowest to highest value."""
    low, high = min(values), max(values)
    step = max(1, len(values) // WIDTH)
    span = (high - low) or 1.0
    return "".join(BARS[min(7, int(8 * (v - low) / span))] for v in values[::step])


def _draw(objective: Any, name: str, out: Path) -> None:
    from assent.errors import AssentError
    from assent.reporting.objective_plot import plot, save_png
    from assent.reporting.plots import picture

    if out.suffix not in (".png", ".svg"):
        raise AssentError(f"--out is {str(out)!r}; expected a file that ends in .png or .svg")
    drawn = plot(objective, name)
    if drawn is None:
        raise AssentError(f"{name} is a loss of several rows at once and has no curve; leave --out out")
    try:
        picture(drawn, out) if out.suffix == ".svg" else save_png(objective, name, out)
    except OSError as error:
        raise AssentError(f"{str(out)!r} cannot be written ({error.strerror}); choose another --out") from None
