"""How often each round's policy is preferred to the run's start: one line a run, with its interval."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from assent.reporting import plots
from assent.reporting.page import percent
from assent.reporting.plots import MUTED, Figure
from assent.reporting.run_plots import LINES
from assent.reporting.runs import Run
from assent.reporting.text import short

BROKEN = (0, (4, 2))


def win_rates(runs: Sequence[Run]) -> Figure | None:
    """Win rate over the rounds of every run that has one, length controlled as a broken line; None where none has."""
    shown = [(i, run) for i, run in enumerate(runs) if run.win_rates]
    if not shown:
        return None
    with plots.canvas() as c:
        c.ax.axhline(0.5, color=MUTED, linewidth=0.8, alpha=0.6)
        ends = []
        for i, run in shown:
            colours = (LINES[0], LINES[1]) if len(runs) == 1 else (LINES[i % len(LINES)],) * 2
            rounds = sorted(run.win_rates)
            _line(c.ax, rounds, [run.win_rates[n] for n in rounds], colours)
            last = run.win_rates[rounds[-1]]
            if len(runs) > 1:
                ends.append((rounds[-1], last["win_rate"], c.name(run.name, 16), colours[0]))
            else:
                ends.append((rounds[-1], last["win_rate"], "win rate", colours[0]))
                ends.append((rounds[-1], last["length_controlled"], "at equal length", colours[1]))
        _axes(c.ax, max(max(run.win_rates) for _, run in shown))
        c.figure.draw_without_rendering()
        plots.end_labels(c.ax, ends)
        drawn = plots.svg(c, "Win rate over the start by round.")
    return Figure(drawn, _title(shown), _caption([run for _, run in shown]))


def _line(ax: Any, rounds: Sequence[int], rates: Sequence[dict[str, Any]], colours: tuple[str, str]) -> None:
    """A run's two lines and the interval of the first."""
    values, low, high = ([r["win_rate"] for r in rates], *([r["interval"][k] for r in rates] for k in (0, 1)))
    if len(rounds) == 1:
        ax.plot(rounds * 2, [low[0], high[0]], color=colours[0], alpha=0.35, linewidth=5)
    else:
        ax.fill_between(rounds, low, high, color=colours[0], alpha=0.15, linewidth=0)
    ax.plot(rounds, values, "o-", color=colours[0], linewidth=1.7, markersize=4)
    controlled = [r["length_controlled"] for r in rates]
    ax.plot(rounds, controlled, "o", color=colours[1], linestyle=BROKEN, linewidth=1.4, markersize=2.5)


def _axes(ax: Any, rounds: int) -> None:
    plots.grid(ax)
    plots.span(ax)
    plots.percents(ax)
    plots.thousands(ax, "x")
    ax.set_xlim(0.7, max(rounds, 2) + 0.3)
    ax.set_title("share of comparisons won", loc="left", fontsize=12, color=MUTED)
    ax.set_xlabel("round")


def _title(shown: Sequence[tuple[int, Run]]) -> str:
    if len(shown) > 1:
        return "Win rate over rounds"
    ((_, run),) = shown
    last = max(run.win_rates)
    return f"Win rate over rounds: {percent(run.win_rates[last]['win_rate'])} after round {last}"


def _caption(runs: Sequence[Run]) -> str:
    """Who was compared by whom; where that differs, lines are not to be compared."""
    told = "Each policy against the run's start, ties by half. Shaded: 95 %, bootstrap over prompts. Broken: at equal length."
    facts = {(r.get("judge"), r.get("prompts")) for run in runs for r in run.win_rates.values()}
    if len(facts) > 1:
        return f"{told} Judges or prompts differ: read each line by itself."
    ((judge, prompts),) = facts
    return f"{told} Judge: {short(judge, 60)}; prompts: {prompts}."
