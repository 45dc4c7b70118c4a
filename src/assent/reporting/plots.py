"""One style for every plot, and plots as inline SVG whose colours follow the page's theme.

A figure is drawn with matplotlib in the light colours below; `svg` then replaces each by a CSS variable of the page.
Text from data never reaches matplotlib (it would read ``$`` as mathematics and lack glyphs): `Canvas.name` draws
a stand-in of the same length, and `svg` puts the escaped text in its place.
"""

from __future__ import annotations

import html
import io
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from assent.reporting.text import short

# name -> light colour; page.css has the dark one of each. Blue against orange survives every common colour blindness.
COLOURS = {
    "ink": "#1c2127",
    "muted": "#626b76",
    "rule": "#d9dde2",
    "blue": "#1766c2",
    "orange": "#b94f06",
    "green": "#087a5e",
    "violet": "#8250c4",
    "sky": "#2d7bb0",
    "sand": "#876315",
}
INK, MUTED, RULE = COLOURS["ink"], COLOURS["muted"], COLOURS["rule"]
BLUE, ORANGE, GREEN = COLOURS["blue"], COLOURS["orange"], COLOURS["green"]
VIOLET, SKY, SAND = COLOURS["violet"], COLOURS["sky"], COLOURS["sand"]

_STYLE = {
    "font.size": 12.5,
    "axes.labelsize": 12.5,
    "xtick.labelsize": 12,
    "ytick.labelsize": 12,
    "text.color": INK,
    "text.parse_math": False,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": RULE,
    "axes.linewidth": 1,
    "axes.labelpad": 7,
    "axes.titlepad": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.facecolor": "none",
    "axes.unicode_minus": True,
    "figure.facecolor": "none",
    "xtick.color": RULE,
    "xtick.labelcolor": MUTED,
    "ytick.color": RULE,
    "ytick.labelcolor": MUTED,
    "xtick.major.size": 4,
    "ytick.major.size": 0,
    "grid.color": RULE,
    "grid.linewidth": 0.8,
    "lines.linewidth": 2,
    "lines.solid_capstyle": "round",
    "figure.dpi": 72,
    "svg.fonttype": "none",
    "svg.hashsalt": "assent",
}


@dataclass(frozen=True)
class Figure:
    """A plot on a page: `title` says the finding or the quantity, `caption` how to read it."""

    svg: str
    title: str
    caption: str = ""
    wide: bool = False


@dataclass
class Canvas:
    """A matplotlib figure with one or more axes, sized in CSS pixels, and the names written on it."""

    figure: Any
    axes: Sequence[Any]
    names: list[str] = field(default_factory=list)

    @property
    def ax(self) -> Any:
        return self.axes[0]

    def name(self, text: object, limit: int = 24) -> str:
        """A stand-in for text from data, of about its width; `svg` writes the text itself, escaped."""
        shown = short(text, limit)
        self.names.append(shown)
        index = len(self.names) - 1
        return f"@{index}@".ljust(max(4, len(shown)), "n")


@contextmanager
def canvas(width: int = 440, height: int = 290, columns: int = 1, **kwargs: Any) -> Iterator[Canvas]:
    """A canvas in the house style; draw inside the `with`, and call `svg` there too."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure as Mpl

    with rc_context(_STYLE):
        figure = Mpl(figsize=(width / 72, height / 72), layout="constrained")
        axes = figure.subplots(1, columns, squeeze=False, **kwargs)[0]
        yield Canvas(figure, list(axes))


def svg(canvas: Canvas, alt: str) -> Any:
    """The canvas as inline SVG markup: no ids but those it uses, no address, colours as CSS variables."""
    from markupsafe import Markup

    buffer = io.StringIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    canvas.figure.savefig(buffer, format="svg", transparent=True, metadata=nothing)
    return Markup(_clean(buffer.getvalue(), canvas.names, alt))


def _clean(text: str, names: Sequence[str], alt: str) -> str:
    text = text[text.index("<svg") :]
    text = re.sub(r"<!--.*?-->", "", text, flags=re.S)
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.S)
    text = text.replace("xlink:href", "href")
    view = re.search(r'viewBox="([^"]+)"', text).group(1)  # type: ignore[union-attr]
    attributes = f'viewBox="{view}" role="img" aria-label="{html.escape(alt)}"'
    text = re.sub(r"<svg[^>]*>", f"<svg {attributes}>", text, count=1)
    used = set(re.findall(r'href="#([^"]+)"', text)) | set(re.findall(r"url\(#([^)]+)\)", text))
    # The same drawing twice on a page has the same ids, which is harmless; all other ids go.
    text = re.sub(r' id="([^"]*)"', lambda m: m.group() if m.group(1) in used else "", text)
    text = re.sub(r"font: ([\d.]+px) [^;\"]*", r"font-size: \1", text)
    for name, colour in COLOURS.items():
        text = text.replace(colour, f"var(--{name})")
    # An unset fill is black in SVG; on a dark page it has to be the ink.
    text = re.sub(r'<text style="(?![^"]*fill:)', '<text style="fill: var(--ink); ', text)
    for index, shown in enumerate(names):
        text = re.sub(rf"@{index}@n*", lambda _, s=shown: html.escape(s), text)
    return re.sub(r"\n\s*", "\n", text).strip()


def grid(ax: Any, axis: str = "y") -> None:
    """Quiet lines along one axis, none along the other."""
    ax.grid(True, axis=axis)
    ax.spines["left" if axis == "y" else "bottom"].set_visible(False)


def apart(positions: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Positions moved as little as is needed to lie at least `gap` apart inside [low, high]; the order is kept.

    >>> apart([1.0, 1.0], 1.0, 0.0, 3.0)
    [0.5, 1.5]
    """
    order = sorted(range(len(positions)), key=lambda i: positions[i])
    gap = min(gap, (high - low) / max(1, len(positions) - 1))
    blocks: list[tuple[float, int]] = []  # centre, size
    for i in order:
        centre, size = positions[i], 1
        while blocks and centre - blocks[-1][0] < gap * (size + blocks[-1][1]) / 2:
            before, many = blocks.pop()
            centre, size = (centre * size + before * many) / (size + many), size + many
        blocks.append((centre, size))
    spread = [centre + gap * (k - (size - 1) / 2) for centre, size in blocks for k in range(size)]
    for k in range(len(spread)):
        spread[k] = max(spread[k], low + gap * k)
    for k in range(len(spread)):
        spread[-1 - k] = min(spread[-1 - k], high - gap * k)
    return [at for _, at in sorted(zip(order, spread, strict=True))]


def end_labels(ax: Any, items: Sequence[tuple[float, float, str, str]], *, size: float = 12.5) -> None:
    """Labels at the ends of lines instead of a legend: (x, y, text, colour); moved apart where they would overlap."""
    low, high = ax.get_ylim()
    pixels = ax.get_window_extent().height or 1
    gap = (high - low) * size * 1.25 / pixels
    right = max(x for x, *_ in items)
    step = 0.012 * (ax.get_xlim()[1] - ax.get_xlim()[0])
    for (x, y, text, colour), at in zip(items, apart([i[1] for i in items], gap, low, high), strict=True):
        if right - x > step or abs(at - y) > 0.75 * gap:
            ax.plot([x + step, right + step], [y, at], color=colour, linewidth=0.8, alpha=0.45, clip_on=False, zorder=1)
        ax.annotate(text, (right + 2 * step, at), color=colour, va="center", fontsize=size, annotation_clip=False)


def histogram(
    ax: Any, values: Sequence[float], *, bins: int = 20, low: float = 0, high: float = 1, **style: Any
) -> Any:
    """Counts of `values` in equal bins of [low, high]; gaps between bars instead of outlines."""
    import numpy as np

    counts, edges = np.histogram(np.asarray(values, dtype=float), bins=bins, range=(low, high))
    width = edges[1] - edges[0]
    style = {"color": BLUE, "width": 0.88 * width, **style}
    ax.bar(edges[:-1] + width / 2, counts, **style)
    ax.set_xlim(low, high)
    return counts


def thousands(ax: Any, axis: str = "y", log: bool = False) -> None:
    """Whole numbers with separators on a count axis."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    which = ax.yaxis if axis == "y" else ax.xaxis
    which.set_major_formatter(FuncFormatter(lambda v, _: f"{v:,.0f}"))
    if not log:
        which.set_major_locator(MaxNLocator(5, integer=True))


def percents(ax: Any, axis: str = "y") -> None:
    """Shares as percentages on an axis."""
    from matplotlib.ticker import FuncFormatter

    (ax.yaxis if axis == "y" else ax.xaxis).set_major_formatter(FuncFormatter(lambda v, _: f"{100 * v:g} %"))


def log_axis(ax: Any, low: float, high: float) -> None:
    """A logarithmic x axis over [low, high] with round ticks, written out."""
    ticks = [m * 10**e for e in range(-3, 9) for m in (1, 2, 5)]
    inside = [t for t in ticks if 0.8 * low <= t <= 1.25 * high]
    if len(inside) > 7:
        inside = [t for t in inside if str(t).strip("0.") == "1"]
    ax.set_xscale("log")
    ax.minorticks_off()
    ax.set_xticks(inside, [f"{t:,g}" for t in inside])
    ax.set_xlim(0.8 * low, 1.25 * high)


def span(ax: Any, least: float = 0.1) -> None:
    """Widen a y axis of shares to at least `least`, inside [0, 1], so that a flat curve looks flat."""
    low, high = ax.get_ylim()
    if high - low < least:
        middle = min(max((low + high) / 2, least / 2), 1 - least / 2)
        ax.set_ylim(middle - least / 2, middle + least / 2)


def picture(drawn: str, path: str | os.PathLike[str]) -> Path:
    """Write an inline plot as an SVG file of its own, light or dark as the viewer's system is, on a ground of its own."""
    css = (Path(__file__).parent / "templates" / "page.css").read_text(encoding="utf-8")
    themes = [re.findall(r"--\w+: #\w{6};", block) for block in re.findall(r"\{([^{}]*--page:[^{}]*)\}", css)[:2]]
    light, dark = (" ".join(theme) for theme in themes)
    style = (
        f"svg {{ {light} font-family: system-ui, sans-serif; }} "
        f"@media (prefers-color-scheme: dark) {{ svg {{ {dark} }} }}"
    )
    width, height = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', drawn).groups()  # type: ignore[union-attr]
    pad = 20
    view = f"{-pad} {-pad} {float(width) + 2 * pad:g} {float(height) + 2 * pad:g}"
    ground = f'<rect x="{-pad}" y="{-pad}" width="100%" height="100%" rx="8" style="fill: var(--page)"/>'
    text = re.sub(r'viewBox="[^"]*"', f'xmlns="http://www.w3.org/2000/svg" viewBox="{view}"', drawn, count=1)
    text = text.replace(">", f"><style>{style}</style>{ground}", 1)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text + "\n", encoding="utf-8")
    return path
