"""The lattice of the named losses, drawn: the most constrained at the bottom, an edge up wherever one entails the next."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from assent.errors import AssentError
from assent.logic import CORES, Core, Table, named
from assent.logic.standing import edges
from assent.logic.wording import closed, polynomial
from assent.reporting.plots import BLUE, GREEN, INK, MUTED, ORANGE, RULE, Canvas, canvas, picture, svg

WIDTH, HEIGHT = 1200, 960
"""Size in pixels."""

_HEIGHT_OF = {"x": 0, "b": 1, "-": 1, "c": 2}
_STEPS = {"x": (0, 0), "b": (1, 0), "-": (0, 1), "c": (1, 1)}


def places(reference: bool = False) -> dict[str, tuple[float, float]]:
    """Name -> (x in [0, 1], level 0 to 4).  A level is the number of steps up from CEUnl; rows TT and FF have two each."""
    marks = {name: (table.marks[0], table.marks[3]) for name, table in named().items()}
    found = {}
    for level in range(5):
        row = [name for name, (tt, ff) in marks.items() if _HEIGHT_OF[tt] + _HEIGHT_OF[ff] == level]
        row.sort(key=lambda name: _lean(*marks[name]))
        for i, name in enumerate(row):
            found[name + ("+ref" if reference else "")] = ((i + 0.5) / len(row) if len(row) > 1 else 0.5, float(level))
    return found


def _lean(tt: str, ff: str) -> float:
    """How far left or right a loss is drawn: each of the four steps leans one way."""
    steps = (*_STEPS[tt], *_STEPS[ff])
    return sum(step * lean for step, lean in zip(steps, (-3, -1.01, 1, 3), strict=True))


def ratio_of(name: str) -> tuple[str, str]:
    """exp(rho) as numerator and denominator, w and l for the policy's probabilities, r_w and r_l for the reference's."""
    plain = name.removesuffix("+ref")
    table = named()[plain]
    top, bottom = (polynomial(table.variables, mask) for mask in (table.check, table.cross))
    if plain != name:
        top, bottom = (f"{r} {closed(p)}" for r, p in (("r_l", top), ("r_w", bottom)))
    return _short(top), _short(bottom)


def _short(text: str) -> str:
    text = text.replace("p_w", "w").replace("p_l", "l").replace(" - ", "−")
    return re.sub(r"(\(1−[wl]\)) ([wl])", r"\2\1", text).replace(" (", "(")


def ours(table: Table) -> str:
    """Registered objectives with this core, at most three by name."""
    found = [name for name, core in CORES.items() if isinstance(core, Core) and core.table == table]
    more = f" +{len(found) - 3}" if len(found) > 3 else ""
    return ", ".join(found[:3]) + more


@contextmanager
def _drawn(reference: bool) -> Iterator[Canvas]:
    at, tables = places(reference), named(reference)
    plain = named()
    with canvas(WIDTH, HEIGHT) as drawn:
        ax = drawn.ax
        ax.set_axis_off()
        ax.set_xlim(0, 1)
        ax.set_ylim(-0.55, 4.75)
        for lower, upper in edges(reference):
            low, high = (plain[name.removesuffix("+ref")].marks for name in (lower, upper))
            colour, style = (BLUE, "-") if low[0] != high[0] else (ORANGE, "--")
            (x, y), (u, v) = at[lower], at[upper]
            ax.plot([x, u], [y + 0.3, v - 0.3], style, color=colour, linewidth=1.4, alpha=0.75, zorder=1)
        for name, (x, y) in at.items():
            _node(ax, name, x, y, ours(tables[name]))
        _legend(ax)
        yield drawn


def _node(ax: Any, name: str, x: float, y: float, known: str) -> None:
    from matplotlib.patches import FancyBboxPatch

    top, bottom = ratio_of(name)
    half = 0.074
    box = FancyBboxPatch(
        (x - half, y - 0.3), 2 * half, 0.6, boxstyle="round,pad=0,rounding_size=0.012", mutation_aspect=5,
        facecolor="none", edgecolor=GREEN if known else RULE, linewidth=1.6, zorder=2,
    )  # fmt: skip
    ax.add_patch(box)
    centre = {"ha": "center", "va": "center", "zorder": 3}
    ax.text(x, y + 0.19, name, color=INK, fontsize=14, fontweight="bold", **centre)
    ax.text(x, y + 0.045, top, color=INK, fontsize=12.5, **centre)
    width = 0.0034 * max(len(top), len(bottom))
    ax.plot([x - width, x + width], [y - 0.025] * 2, color=MUTED, linewidth=0.9, zorder=3)
    ax.text(x, y - 0.1, bottom, color=INK, fontsize=12.5, **centre)
    if known:
        ax.text(x, y - 0.225, known, color=GREEN, fontsize=11.5, **centre)


def _legend(ax: Any) -> None:
    ax.plot([0.0, 0.035], [4.5, 4.5], "-", color=BLUE)
    ax.text(0.042, 4.5, "row TT (both valid) counts more for the loss", color=MUTED, va="center")
    ax.plot([0.0, 0.035], [4.32, 4.32], "--", color=ORANGE)
    ax.text(0.042, 4.32, "row FF (neither valid) counts more for it", color=MUTED, va="center")
    ax.text(1.0, 4.5, "above: entailed, rho larger, loss smaller everywhere", color=MUTED, va="center", ha="right")
    ax.text(1.0, 4.32, "green: objectives of Assent with this core", color=GREEN, va="center", ha="right")


def lattice(reference: bool = False) -> Any:
    """The lattice as inline SVG."""
    with _drawn(reference) as drawn:
        return svg(drawn, f"The lattice of 16 named losses{' with a reference' if reference else ''}, 32 edges")


def write(path: Path, reference: bool = False) -> None:
    """Draw the lattice into a file that ends in .png (2400 pixels wide) or .svg.  Raises AssentError for other endings."""
    if path.suffix not in (".png", ".svg"):
        raise AssentError(f"--out is {str(path)!r}; expected a file that ends in .png or .svg")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".svg":
            picture(lattice(reference), path)
            return
        with _drawn(reference) as drawn:
            drawn.figure.savefig(path, dpi=144, facecolor="white")
    except OSError as error:
        raise AssentError(f"{str(path)!r} cannot be written ({error.strerror}); choose another --out") from None
