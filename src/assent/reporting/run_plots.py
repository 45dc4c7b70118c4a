"""The plots of the page about training runs: one figure a metric, one line a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from assent.reporting import plots
from assent.reporting.page import percent
from assent.reporting.plots import BLUE, GREEN, INK, MUTED, ORANGE, SAND, SKY, VIOLET, Figure
from assent.reporting.runs import Run

LINES = (BLUE, ORANGE, GREEN, VIOLET, SAND, SKY, INK, MUTED)
_POINTS = 400  # a line with more points is shown as means of equal parts


@dataclass(frozen=True)
class Panel:
    """A figure of the page: what it is called, its unit, and the logged keys it shows with their line styles."""

    title: str
    unit: str
    keys: tuple[tuple[str, str, Any], ...]  # key, what it is, line
    caption: str = ""
    share: bool = False


PANELS = (
    Panel("Loss", "loss (nats)", (("loss", "train", "-"), ("eval_loss", "held out", (0, (4, 2)))),
          "Held out rising while train falls: what is learnt does not carry over."),
    Panel("Pairs ranked as their label says", "share of pairs",
          (("rewards/accuracies", "train", "-"), ("eval_rewards/accuracies", "held out", (0, (4, 2)))),
          "Train far above held out: the model learns these labels by heart, wrong ones too.", share=True),
    Panel("Reward margin, chosen less rejected", "nats",
          (("rewards/margins", "train", "-"), ("eval_rewards/margins", "held out", (0, (4, 2)))),
          "How strongly the model prefers the chosen side; it grows on labels learnt by heart too."),
    Panel("Log-probability of the responses", "nats per sequence",
          (("logps/chosen", "chosen", "-"), ("logps/rejected", "rejected", (0, (1.5, 1.5)))),
          "Both falling is common; chosen falling fast is an alarm."),
    Panel("Noise rate as the run sees it", "share of labels", (("lcpo/noise_rate", "noise", "-"),),
          "Mean of 1 − P(the label is right). Falling to nothing late in a run can be memorisation.", share=True),
    Panel("Gradient norm", "norm", (("grad_norm", "norm", "-"),),
          "Before clipping; a spike comes from a few rows, a fall to nothing means that none teaches any more."),
)  # fmt: skip


def panels(runs: Sequence[Run], wanted: Sequence[Panel] = PANELS) -> list[Figure]:
    """A figure for every panel of which at least one run logged two points."""
    return [f for p in wanted if (f := _panel(p, runs)) is not None]


def _panel(panel: Panel, runs: Sequence[Run]) -> Figure | None:
    lines = []
    for i, run in enumerate(runs):
        for j, (key, what, style) in enumerate(panel.keys):
            x, y = _thin(*run.curve(key))
            if not x:
                continue
            # One run: a colour for each key. Several: a colour for each run, told apart by its name.
            colour = LINES[(i if len(runs) > 1 else j) % len(LINES)]
            lines.append((x, y, run.name if len(runs) > 1 else what, what, colour, style))
    if max((len(line[0]) for line in lines), default=0) < 2:
        return None
    with plots.canvas() as c:
        ends = []
        for x, y, name, _, colour, style in lines:
            c.ax.plot(x, y, color=colour, linestyle=style if len(runs) > 1 else "-", linewidth=1.7)
            if len(x) <= 2:
                c.ax.plot(x, y, "o", color=colour, markersize=4)
            ends.append((x[-1], y[-1], name, colour))
        plots.grid(c.ax)
        if panel.share:
            plots.span(c.ax)
            plots.percents(c.ax)
        plots.thousands(c.ax, "x")
        c.ax.set_title(panel.unit, loc="left", fontsize=12, color=MUTED)
        c.ax.set_xlabel("optimiser step")
        _label_ends(c, ends, len(lines) if len(runs) == 1 else 0)
        drawn = plots.svg(c, f"{panel.title} by optimiser step.")
    styles = {what: style for _, _, _, what, _, style in lines}
    dashed = [w for w, s in styles.items() if s != "-"]
    legend = f"Broken lines: {', '.join(dashed)}. " if len(runs) > 1 and dashed else ""
    caption = panel.caption if len(styles) == len(panel.keys) else ""
    return Figure(drawn, panel.title, (legend + caption).strip())


def _label_ends(c: plots.Canvas, ends: Sequence[tuple[float, float, str, str]], single: int) -> None:
    """Names at the ends of the lines: all keys of one run, or the first line of each of several."""
    if single == 1:
        return
    seen: dict[str, tuple[float, float, str, str]] = {}
    for x, y, name, colour in ends:
        seen.setdefault(name, (x, y, c.name(name, 16), colour))
    c.figure.draw_without_rendering()
    plots.end_labels(c.ax, list(seen.values()))


def _thin(x: list[float], y: list[float]) -> tuple[list[float], list[float]]:
    """At most `_POINTS` points: means over equal parts of longer curves."""
    if len(x) <= _POINTS:
        return x, y
    import numpy as np

    return (
        [float(p[-1]) for p in np.array_split(np.array(x), _POINTS)],
        [float(p.mean()) for p in np.array_split(np.array(y), _POINTS)],
    )


def reliabilities(curves: Mapping[str, tuple[list[float], list[float]]], title: str) -> Figure | None:
    """Reliability of each annotator along a run, or of quantiles of many; None where none moves."""
    if not any(len(set(y)) > 1 for _, y in curves.values()):
        return None
    with plots.canvas(960, 340) as c:
        ends = []
        for i, (name, (x, y)) in enumerate(curves.items()):
            x, y = _thin(x, y)
            colour = LINES[i % len(LINES)]
            c.ax.plot(x, y, color=colour, linewidth=1.6)
            ends.append((x[-1], y[-1], c.name(name, 20), colour))
        plots.grid(c.ax)
        plots.span(c.ax)
        plots.percents(c.ax)
        plots.thousands(c.ax, "x")
        c.ax.set_title("estimated reliability", loc="left", fontsize=12, color=MUTED)
        c.ax.set_xlabel("optimiser step")
        c.figure.draw_without_rendering()
        plots.end_labels(c.ax, ends)
        drawn = plots.svg(c, "Estimated reliabilities by optimiser step.")
    return Figure(drawn, title, "All drifting up together late in a run is what memorised noise looks like.", wide=True)


def posteriors(by_epoch: Mapping[str, Any]) -> Figure | None:
    """P(the stored order is right) at the first and the last epoch that were written."""
    import numpy as np

    filled = [(k, v) for k, v in by_epoch.items() if len(v)]
    if not filled:
        return None
    shown = [filled[0], filled[-1]] if len(filled) > 1 else filled
    bins = np.linspace(0, 1, 21)
    with plots.canvas() as c:
        top = 0.0
        for (_, values), colour in zip(shown, (ORANGE, BLUE)[-len(shown) :], strict=True):
            share = np.histogram(values, bins)[0] / len(values)
            c.ax.stairs(share, bins, fill=True, color=colour, alpha=0.25, linewidth=0)
            c.ax.stairs(share, bins, color=colour, linewidth=1.8)
            top = max(top, float(share.max()))
        for i, ((name, _), colour) in enumerate(zip(shown, (ORANGE, BLUE)[-len(shown) :], strict=True)):
            c.ax.text(0.02, (1.2 - 0.1 * i) * top, c.name(name, 16), color=colour, va="center")
        c.ax.set_xlim(0, 1)
        c.ax.set_ylim(0, 1.27 * top)
        plots.grid(c.ax)
        plots.percents(c.ax)
        c.ax.set_title("share of the pairs", loc="left", fontsize=12, color=MUTED)
        c.ax.set_xlabel("P(the stored order is right)")
        drawn = plots.svg(c, "Posteriors of the pairs at the first and the last epoch.")
    wrong = float((shown[-1][1] < 0.5).mean())
    return Figure(drawn, f"{percent(wrong)} of the pairs are held to be stored the wrong way round")
