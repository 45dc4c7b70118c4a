"""The plots of the audit page: how sure, which annotators, how length and agreement relate to the labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from assent.reporting import plots
from assent.reporting.page import number, percent
from assent.reporting.plots import BLUE, INK, MUTED, ORANGE, Figure

_DOTS = 600  # annotators drawn


def certainty(p_correct: Sequence[float]) -> Figure:
    """Histogram of P(label is right), one value per label; the labels more likely wrong than right stand out."""
    import numpy as np

    p = np.asarray(p_correct, dtype=float)
    p = p[np.isfinite(p)]
    wrong = float((p < 0.5).mean()) if len(p) else 0.0
    with plots.canvas() as c:
        counts = plots.histogram(c.ax, p, color=[ORANGE] * 10 + [BLUE] * 10)
        plots.grid(c.ax)
        top = max(1, counts.max() if len(p) else 1)
        steep = top > 50 * max(1.0, float(np.median(counts)))
        if steep:
            # Ten thousand sure labels would flatten the doubtful ones, which are what the reader came for.
            c.ax.set_yscale("log")
            c.ax.minorticks_off()
        low, high = (0.7, 4 * top) if steep else (0, 1.22 * top)
        c.ax.set_ylim(low, high)
        at = {"y": 0.96, "va": "top", "transform": c.ax.get_xaxis_transform()}
        c.ax.text(0.02, s=f"{percent(wrong)} more likely wrong", color=ORANGE, **at)
        c.ax.text(0.98, s=f"{percent(1 - wrong)} more likely right", color=BLUE, ha="right", **at)
        plots.thousands(c.ax, log=steep)
        unit = "labels, logarithmic scale" if steep else "labels"
        c.ax.set_title(unit, loc="left", fontsize=12, color=MUTED)
        c.ax.set_xlabel("P(the label is right)")
        sure = float(((p < 0.1) | (p > 0.9)).mean()) if len(p) else 0.0
        drawn = plots.svg(c, f"Histogram: {percent(wrong)} of the labels are more likely wrong than right.")
    return Figure(
        drawn,
        "How sure the audit is of each label",
        f"{percent(sure)} of the labels lie below .1 or above .9. Labels near .5 cannot be told either way.",
    )


def spread(annotators: Mapping[str, Mapping[str, Any]]) -> Figure:
    """Reliabilities of many annotators in order, with their intervals: for panels too long for a table."""
    import numpy as np

    rows = sorted((a for a in annotators.values() if a["reliability"] is not None), key=lambda a: a["reliability"])
    everyone = len(rows)
    middle = percent(rows[everyone // 2]["reliability"])
    pick = np.unique(np.linspace(0, everyone - 1, min(everyone, _DOTS)).round().astype(int))
    rows = [rows[i] for i in pick]
    value = np.array([a["reliability"] for a in rows], dtype=float)
    low = np.array([a["low"] if a["low"] is not None else np.nan for a in rows], dtype=float)
    high = np.array([a["high"] if a["high"] is not None else np.nan for a in rows], dtype=float)
    x = pick + 1
    with plots.canvas(960, 300) as c:
        c.ax.vlines(x, low, high, color=BLUE, alpha=0.3, linewidth=max(0.5, min(4, 500 / len(rows))))
        c.ax.plot(x, value, color=BLUE, linewidth=2)
        c.ax.axhline(0.5, color=MUTED, linewidth=1, linestyle=(0, (3, 3)))
        c.ax.text(everyone, 0.505, "a coin", color=MUTED, ha="right", va="bottom")
        plots.grid(c.ax)
        plots.percents(c.ax)
        plots.thousands(c.ax, "x")
        c.ax.set_ylim(min(0.3, float(np.nanmin(low, initial=0.3))), 1.005)
        c.ax.set_xlim(0, everyone + 1)
        c.ax.set_title("reliability, with 95 % intervals", loc="left", fontsize=12, color=MUTED)
        c.ax.set_xlabel("annotators, least reliable first")
        drawn = plots.svg(c, f"Sorted reliabilities of {everyone} annotators with intervals.")
    caption = f"{len(rows)} of them drawn, evenly spaced in order." if len(rows) < everyone else ""
    return Figure(drawn, f"Half of the {everyone:,} annotators lie above {middle}", caption, wide=True)


def length(gap: Sequence[float], per_doubling: float | None = None) -> Figure | None:
    """How often the label prefers the longer response, by how much longer it is; None with fewer than 20 unequal ones.

    gap: per label, characters by which the preferred response is longer. per_doubling: nats that twice the length is worth.
    """
    import numpy as np

    gap = np.asarray(gap, dtype=float)
    gap = gap[np.isfinite(gap) & (gap != 0)]
    if len(gap) < 20:
        return None
    size, longer = np.abs(gap), gap > 0
    order = np.argsort(size, kind="stable")
    parts = np.array_split(order, min(10, len(gap) // 10))
    x = np.array([np.median(size[i]) for i in parts])
    share = np.array([longer[i].mean() for i in parts])
    bound = np.array([_wilson(longer[i].sum(), len(i)) for i in parts])
    with plots.canvas() as c:
        c.ax.axhline(0.5, color=MUTED, linewidth=1, linestyle=(0, (3, 3)))
        c.ax.vlines(x, bound[:, 0], bound[:, 1], color=BLUE, alpha=0.35, linewidth=5)
        c.ax.plot(x, share, "o-", color=BLUE, markersize=5, linewidth=1.2)
        if x.max() > 20 * max(x.min(), 1):
            plots.log_axis(c.ax, float(x.min()), float(x.max()))
        plots.grid(c.ax)
        plots.percents(c.ax)
        c.ax.set_ylim(min(0.3, float(bound.min()) - 0.02), max(0.8, min(1.0, float(bound.max()) + 0.02)))
        c.ax.set_title("labels that prefer the longer response", loc="left", fontsize=12, color=MUTED)
        c.ax.set_xlabel("difference in length (characters)")
        drawn = plots.svg(c, f"The longer response is preferred in {percent(float(longer.mean()))} of labels.")
    return Figure(
        drawn,
        f"The longer response is preferred {percent(float(longer.mean()))} of the time",
        "Tenths of the labels by difference in length, with 95 % intervals; the dashed line is no preference."
        + (
            f" Twice the length is worth {number(per_doubling)} nats to the labels." if per_doubling is not None else ""
        ),
    )


def agreement(annotators: Mapping[str, Mapping[str, Any]]) -> Figure | None:
    """Agreement with others on shared pairs against estimated reliability; None without at least two such annotators."""
    rows = [(n, a) for n, a in annotators.items() if None not in (a.get("agreement"), a["reliability"])]
    if len(rows) < 2:
        return None
    everyone, rows = len(rows), rows[:: -(-len(rows) // _DOTS)]
    x = [a["agreement"] for _, a in rows]
    y = [a["reliability"] for _, a in rows]
    with plots.canvas() as c:
        c.ax.plot(x, y, "o", color=BLUE, markersize=7 if len(rows) <= 40 else 4, alpha=0.8, markeredgewidth=0)
        margin = 0.08 * (max(x) - min(x) or 0.2)
        c.ax.set_xlim(min(x) - margin, max(x) + margin)
        c.ax.set_ylim(min(0.45, min(y) - 0.05), 1.02)
        plots.grid(c.ax)
        plots.percents(c.ax)
        plots.percents(c.ax, "x")
        c.ax.set_title("estimated reliability", loc="left", fontsize=12, color=MUTED)
        c.ax.set_xlabel("agreement with others on shared pairs")
        if len(rows) <= 12:
            names = [c.name(n, 18) for n, _ in rows]
            c.figure.draw_without_rendering()
            plots.end_labels(c.ax, [(*at, name, INK) for *at, name in zip(x, y, names, strict=True)])
        drawn = plots.svg(c, f"Reliability against agreement with others for {everyone} annotators.")
    return Figure(
        drawn,
        "Reliability against agreement with others",
        "Those who agree with others more should be more reliable; a point far off the trend is worth a look."
        + (f" {len(rows)} of {everyone:,} annotators are drawn." if len(rows) < everyone else ""),
    )


def _wilson(hits: float, total: float, z: float = 1.959964) -> tuple[float, float]:
    """Wilson's 95 % interval of a share.

    >>> [round(b, 3) for b in _wilson(8, 10)]
    [0.49, 0.943]
    """
    share = hits / total
    middle = (share + z * z / (2 * total)) / (1 + z * z / total)
    half = z / (1 + z * z / total) * (share * (1 - share) / total + z * z / (4 * total * total)) ** 0.5
    return middle - half, middle + half
