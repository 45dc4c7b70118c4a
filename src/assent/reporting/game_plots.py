"""Pictures of preference games: paths of three-arm policies on the simplex, and duality gaps by step."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path as File
from typing import Any

from torch import Tensor

from assent.errors import AssentError
from assent.games.mirror import Path
from assent.reporting.plots import BLUE, GREEN, INK, MUTED, ORANGE, RULE, VIOLET, Canvas, Figure, canvas, grid, svg

LINES = (BLUE, ORANGE, GREEN, VIOLET)
CORNERS = ((0.0, 0.0), (1.0, 0.0), (0.5, math.sqrt(3) / 2))
LEAST = 1e-17
"""Gaps below are rounding; curves stop there."""


def place(policies: Tensor) -> tuple[list[float], list[float]]:
    """Plane coordinates of policies [K, 3]: arm 1 left, arm 2 right, arm 3 on top."""
    if policies.ndim != 2 or policies.shape[1] != 3:
        raise AssentError(f"a phase portrait shows policies [K, 3]; got {list(policies.shape)}: choose three arms")
    x, y = (sum(policies[:, a] * CORNERS[a][i] for a in range(3)) for i in range(2))
    return x.tolist(), y.tolist()


def portrait(paths: Mapping[str, Path], best: Tensor) -> Figure:
    """One triangle for each named path, side by side; ``best`` [3] the equilibrium."""
    with _portrait(paths, best) as drawn:
        picture = svg(drawn, "Paths of policies over three arms: " + ", ".join(paths) + ".")
    return Figure(picture, "Where the policies go", _CAPTION, wide=True)


_CAPTION = "Each corner is one arm. The path starts at the open circle; the dot is the equilibrium."


@contextmanager
def _portrait(paths: Mapping[str, Path], best: Tensor) -> Iterator[Canvas]:
    with canvas(250 * len(paths), 262, columns=len(paths)) as drawn:
        for ax, (name, path), colour in zip(drawn.axes, paths.items(), LINES * len(paths), strict=False):
            ax.set_aspect("equal")
            ax.axis("off")
            ax.plot(*zip(*CORNERS, CORNERS[0], strict=True), color=RULE, linewidth=1)
            x, y = place(path.policies)
            ax.plot(x, y, color=colour, linewidth=1.1, alpha=0.85)
            ax.plot(x[:1], y[:1], "o", color=colour, markersize=6, markerfacecolor="white", zorder=3)
            ax.plot(*place(best[None]), "o", color=INK, markersize=5, zorder=4)
            for arm, (cx, cy) in enumerate(CORNERS, start=1):
                ax.text(cx, cy + (0.03 if arm == 3 else -0.04), f"arm {arm}", color=MUTED, ha="center", fontsize=11,
                        va="bottom" if arm == 3 else "top")  # fmt: skip
            ax.set_title(name, color=colour, fontsize=12.5, pad=2)
            ax.set_xlim(-0.1, 1.1)
            ax.set_ylim(-0.14, 1.0)
        yield drawn


def gaps(paths: Mapping[str, Path]) -> Figure:
    """Duality gaps of named paths by step, on a logarithmic scale; of several games the mean is drawn."""
    with _gaps(paths) as drawn:
        picture = svg(drawn, "Duality gap by step: " + ", ".join(paths) + ".")
    return Figure(
        picture, "Distance to the equilibrium", "Duality gap of the last policy; rounding below 1e-16.", wide=True
    )


@contextmanager
def _gaps(paths: Mapping[str, Path]) -> Iterator[Canvas]:
    with canvas(560, 300) as drawn:
        ax, ends = drawn.ax, []
        ax.set_yscale("log")
        ax.minorticks_off()
        for i, ((name, path), colour) in enumerate(zip(paths.items(), LINES * len(paths), strict=False)):
            at, values = _shown(path)
            ax.plot(at, values, ("-", "--")[i % 2], color=colour, linewidth=1.6)  # lines may lie on each other
            ends.append((at[-1], values[-1], name, colour))
        ax.set_xlim(0, max(path.at[-1] for path in paths.values()))
        ax.set_ylim(LEAST, 1)
        ax.set_yticks([10.0**e for e in (-16, -12, -8, -4, 0)], ["1e-16", "1e-12", "1e-8", "1e-4", "1"])
        ax.set_xlabel("step")
        ax.set_ylabel("duality gap")
        grid(ax)
        drawn.figure.canvas.draw()
        _names(ax, ends)
        yield drawn


def _names(ax: Any, ends: Sequence[tuple[float, float, str, str]]) -> None:
    """Each line's name beside its end; names of lines that end in the plot stand above their ends."""
    right = ax.get_xlim()[1]
    outside = [(x, math.log10(y), text, colour) for x, y, text, colour in ends if x >= 0.98 * right]
    for x, y, text, colour in ends:
        if x < 0.98 * right:
            ax.annotate(text, (x, y), (6, 6), textcoords="offset points", color=colour, fontsize=12.5)
    taken: list[float] = []
    for x, level, text, colour in sorted(outside, key=lambda item: item[1]):
        level = max([level, *(low + 1.1 for low in taken)])
        taken.append(level)
        ax.annotate(text, (x, 10.0**level), (6, 0), textcoords="offset points", color=colour, va="center", fontsize=12.5,
                    annotation_clip=False)  # fmt: skip


def _shown(path: Path) -> tuple[list[int], list[float]]:
    """Steps and mean gaps up to where they are rounding."""
    values = path.gap.reshape(len(path.at), -1).mean(1).tolist()
    last = next((i for i, value in enumerate(values) if value < LEAST), len(values) - 1)
    return list(path.at[: last + 1]), [max(value, LEAST) for value in values[: last + 1]]


def save_png(kind: str, paths: Mapping[str, Path], best: Tensor, file: File) -> None:
    """Write a portrait ("portrait") or the gap curves ("gaps") as a PNG file on white."""
    drawing = _portrait(paths, best) if kind == "portrait" else _gaps(paths)
    with drawing as drawn:
        drawn.figure.savefig(file, dpi=144, facecolor="white")
