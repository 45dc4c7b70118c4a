"""The plots of a run's last look: stated against seen probability, and accuracy by bucket."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from assent.reporting import plots
from assent.reporting.plots import BLUE, MUTED, RULE, Figure

_BUCKETS = 14  # of one cut; the largest ones of more
_CUTS = {
    "length_gap": ("length gap", "tokens, chosen less rejected"),
    "annotator": ("annotator", ""),
    "difficulty": ("difficulty", "nats by which the reference finds the rejected side likelier"),
    "source": ("source", ""),
    "split": ("split", ""),
}


def calibration(bins: Sequence[Any], title: str) -> Figure | None:
    """Share of labels that agree by stated probability, with standard errors; None without bins."""
    rows = [b for b in bins if isinstance(b, Mapping) and _numbers(b, ("stated", "seen", "pairs"))]
    if not rows:
        return None
    most = max(row["pairs"] for row in rows)
    with plots.canvas() as c:
        low = min(0.5, *(row["seen"] for row in rows))
        c.ax.plot([0.5, 1], [0.5, 1], color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
        for row in rows:
            error = row.get("seen_se")
            if isinstance(error, int | float):
                c.ax.plot(
                    [row["stated"]] * 2,
                    [row["seen"] - error, row["seen"] + error],
                    color=BLUE,
                    linewidth=1.2,
                    alpha=0.6,
                )
        sizes = [18 + 70 * row["pairs"] / most for row in rows]
        c.ax.scatter([r["stated"] for r in rows], [r["seen"] for r in rows], s=sizes, color=BLUE, linewidths=0)
        c.ax.set_xlim(0.48, 1.02)
        c.ax.set_ylim(max(-0.02, low - 0.08), 1.05)
        plots.grid(c.ax)
        plots.percents(c.ax)
        plots.percents(c.ax, "x")
        c.ax.set_title("share of labels that agree", loc="left", fontsize=12, color=MUTED)
        c.ax.set_xlabel("probability that the margin states")
        drawn = plots.svg(c, f"{title}: share of labels that agree by stated probability.")
    told = "On the broken line probabilities are what they say; below it the margins promise too much. Larger dots: more pairs."
    return Figure(drawn, title, told)


def buckets(rows: Any, cut: str, name: str = "") -> Figure | None:
    """Reward accuracy by bucket of one cut, with standard errors; None where there is one bucket or none."""
    if not isinstance(rows, Sequence):
        return None
    found = [row for row in rows if isinstance(row, Mapping) and _numbers(row, ("accuracy", "pairs"))]
    if len(found) < 2:
        return None
    shown = found
    if len(found) > _BUCKETS:
        shown = sorted(found, key=lambda row: -row["pairs"])[:_BUCKETS]
        shown = sorted(shown, key=lambda row: row["accuracy"])
    title, unit = _CUTS.get(cut, (str(cut).replace("_", " "), ""))
    with plots.canvas(440, 90 + 26 * len(shown)) as c:
        for at, row in enumerate(reversed(shown)):
            error = row.get("accuracy_se")
            c.ax.plot([0, 1], [at, at], color=RULE, linewidth=0.8)
            if isinstance(error, int | float):
                ends = [max(0, row["accuracy"] - error), min(1, row["accuracy"] + error)]
                c.ax.plot(ends, [at, at], color=BLUE, linewidth=4, alpha=0.35)
            c.ax.plot(row["accuracy"], at, "o", color=BLUE, markersize=6)
        names = [c.name(f"{row.get('bucket')} ({row['pairs']:g})", 26) for row in reversed(shown)]
        c.ax.set_yticks(range(len(shown)), names)
        c.ax.axvline(0.5, color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
        c.ax.set_xlim(0, 1)
        c.ax.set_ylim(-0.6, len(shown) - 0.4)
        c.ax.spines["left"].set_visible(False)
        plots.percents(c.ax, "x")
        c.ax.set_xlabel("pairs ranked as labelled")
        drawn = plots.svg(c, f"Accuracy by {title}.")
    more = f" The {_BUCKETS} largest of {len(found)} are shown." if len(shown) < len(found) else ""
    told = f"In brackets the number of pairs; bars are one standard error{f'; {unit}' if unit else ''}.{more}"
    return Figure(drawn, f"Accuracy by {title}{name}", told)


def _numbers(row: Mapping[str, Any], keys: Sequence[str]) -> bool:
    return all(isinstance(row.get(key), int | float) and not isinstance(row[key], bool) for key in keys)
