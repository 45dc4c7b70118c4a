"""The plots of the demo's page: reward against KL, reliabilities, posteriors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from assent.reporting import plots
from assent.reporting.page import percent
from assent.reporting.plots import BLUE, GREEN, INK, MUTED, ORANGE, SAND, SKY, VIOLET, Figure

# name -> (what people call it, colour, line): solid for what is ours, dashed for what is told the truth.
METHODS = {
    "dpo_clean": ("DPO, clean labels", INK, (0, (5, 2))),
    "lcpo_oracle": ("LCPO, told the truth", GREEN, (0, (5, 2))),
    "lcpo_crossfit": ("LCPO, cross-fitted", BLUE, "-"),
    "lcpo_online": ("LCPO, online", SKY, "-"),
    "rdpo": ("rDPO, told the mean", VIOLET, "-"),
    "cdpo": ("cDPO", SAND, "-"),
    "dpo": ("DPO", ORANGE, "-"),
}


def known(name: str) -> tuple[str, str, Any]:
    """Title, colour and line of a method; one we have no colour for is grey under its own name."""
    return METHODS.get(name, (name.replace("_", " "), MUTED, "-"))


def reward_against_kl(curves: Mapping[str, Sequence[Mapping[str, float]]], equal_kl: float | None) -> Figure:
    """True reward along each run against KL from the reference (nats per sequence); dots are checkpoints."""
    order = [m for m in METHODS if m in curves] + [m for m in curves if m not in METHODS]
    with plots.canvas(960, 430) as c:
        ends = []
        for name in order:
            points = sorted(curves[name], key=lambda p: p.get("step", 0))
            x, y = [p["kl"] for p in points], [p["true_reward"] for p in points]
            if not x:
                continue
            title, colour, line = known(name)
            title = title if name in METHODS else c.name(title)
            strong = name in ("lcpo_crossfit", "dpo")
            c.ax.plot(x, y, color=colour, linestyle=line, linewidth=2.4 if strong else 1.4, zorder=3 if strong else 2)
            c.ax.plot(x, y, "o", color=colour, markersize=4.5, zorder=3, markeredgewidth=0)
            c.ax.plot(x[-1:], y[-1:], "o", color=colour, markersize=9, zorder=4, markeredgewidth=0)
            ends.append((x[-1], y[-1], title, colour))
        furthest = max((e[0] for e in ends), default=1.0)
        c.ax.set_xlim(0, furthest * 1.04)
        plots.grid(c.ax)
        c.ax.set_title("true reward (nats)", loc="left", fontsize=12, color=MUTED)
        c.ax.set_xlabel("KL from the reference (nats per sequence)")
        if equal_kl is not None:
            c.ax.axvline(equal_kl, color=MUTED, linewidth=1, linestyle=(0, (2, 3)), zorder=1)
            low, high = c.ax.get_ylim()
            c.ax.text(equal_kl, low + 0.01 * (high - low), " compared here", color=MUTED, va="bottom")
        c.figure.draw_without_rendering()
        plots.end_labels(c.ax, ends)
        drawn = plots.svg(c, "True reward against KL from the reference along each run.")
    errors = [p["true_reward_se"] for points in curves.values() for p in points if p.get("true_reward_se")]
    caption = (
        "Each dot is a checkpoint, the large one the end of the run. A method that climbs and then falls fits the "
        "noise after the signal. "
        "Methods are compared at one KL, the largest that all of them reached."
    )
    if errors:
        caption += f" A point’s standard error is about {sorted(errors)[len(errors) // 2]:.2f} nats."
    title = "True reward along each run, against the distance from the reference"
    return Figure(drawn, title, caption, wide=True)


def reliabilities(reliability: Mapping[str, Mapping[str, float]], online: Mapping[str, float] | None = None) -> Figure:
    """Estimated against true reliability, one dot per annotator; the diagonal is a perfect estimate.

    online: where the online estimates of the same annotators ended, drawn as rings.
    """
    names = list(reliability)
    x = [reliability[n]["true"] for n in names]
    y = [reliability[n]["estimated"] for n in names]
    rings = [(t, online[n]) for n, t in zip(names, x, strict=True) if online and n in online]
    error = sum(abs(a - b) for a, b in zip(x, y, strict=True)) / max(1, len(names))
    low = max(0.0, min([*x, *y, 0.5]) - 0.08)
    with plots.canvas() as c:
        c.ax.plot([low, 1], [low, 1], color=MUTED, linewidth=1, linestyle=(0, (3, 3)))
        if rings:
            style = {"markerfacecolor": "none", "markeredgecolor": MUTED, "markersize": 7}
            c.ax.plot(*zip(*rings, strict=True), "o", **style)
        c.ax.plot(x, y, "o", color=BLUE, markersize=8, markeredgewidth=0)
        c.ax.set_xlim(low, 1.04)
        c.ax.set_ylim(low, 1.04)
        if len(names) <= 12:
            heights = plots.apart([v - 0.004 for v in y], 0.055 * (1.04 - low), low, 1.04)
            for name, at, px in zip(names, heights, x, strict=True):
                c.ax.text(px + 0.025, at - 0.02, c.name(name, 16), ha="left", va="center", clip_on=False)
        plots.grid(c.ax)
        plots.percents(c.ax)
        plots.percents(c.ax, "x")
        c.ax.set_title("estimated reliability", loc="left", fontsize=12, color=MUTED)
        c.ax.set_xlabel("true reliability")
        drawn = plots.svg(c, f"Estimated against true reliability, mean absolute error {error:.3f}.")
    caption = "Dots: cross-fitted estimates, exact on the dashed line."
    if rings:
        caption += " Rings: where the online estimates of the training run ended."
    return Figure(drawn, f"Cross-fitted reliabilities are off by {error:.3f} on average", caption)


def posteriors(right: Sequence[float], wrong: Sequence[float]) -> Figure:
    """Histograms of P(label is right) for labels that are right and for labels that are wrong, as shares of each."""
    import numpy as np

    right, wrong = np.asarray(right, dtype=float), np.asarray(wrong, dtype=float)
    bins = np.linspace(0, 1, 21)
    with plots.canvas() as c:
        top = 0.0
        for values, colour in ((right, BLUE), (wrong, ORANGE)):
            share = np.histogram(values, bins)[0] / max(1, len(values))
            c.ax.stairs(share, bins, fill=True, color=colour, alpha=0.35, linewidth=0)
            c.ax.stairs(share, bins, color=colour, linewidth=1.8)
            top = max(top, float(share.max()))
        c.ax.set_xlim(0, 1)
        c.ax.set_ylim(0, 1.2 * top or 1)
        c.ax.text(0.98, 1.13 * top, "right labels", color=BLUE, ha="right", va="center")
        c.ax.text(0.02, 1.13 * top, "wrong labels", color=ORANGE, va="center")
        plots.grid(c.ax)
        plots.percents(c.ax)
        c.ax.set_title("share of the labels of each kind", loc="left", fontsize=12, color=MUTED)
        c.ax.set_xlabel("P(the label is right)")
        drawn = plots.svg(c, "Posterior of right and of wrong labels.")
    caught = float((wrong < 0.5).mean()) if len(wrong) else float("nan")
    lost = float((right < 0.5).mean()) if len(right) else float("nan")
    return Figure(
        drawn,
        f"{percent(caught)} of the wrong labels are recognised",
        f"That is, given P < .5; so are {percent(lost)} of the right ones, by mistake.",
    )
