"""The page of ``assent report``: what training runs did, one or several side by side."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from assent.reporting import run_plots
from assent.reporting.page import plain, render, save
from assent.reporting.runs import Run, read_all

_ANNOTATORS = 40  # rows of the table
_CARD = 20_000  # characters of configuration and card on the page


def write(run_dirs: Sequence[str | os.PathLike[str]], path: str | os.PathLike[str]) -> Path:
    """Write one page about the runs in `run_dirs` and return its path.

    Raises AssentError where a directory is no run, or where the page cannot be written.
    """
    runs = read_all(run_dirs)
    details = []
    for i, run in enumerate(runs):
        title = "Reliabilities along the run" + (f" {run.name}" if len(runs) > 1 else "")
        figures = [run_plots.posteriors(run.posteriors), run_plots.reliabilities(run.reliabilities(), title)]
        details.append({"run": run, "figures": [f for f in figures if f], "colour": _colour(i), "latest": _latest(run)})
    context = {
        "title": f"Run {runs[0].name}" if len(runs) == 1 else f"{len(runs)} runs compared",
        "rows": [summary(run) | {"colour": _colour(i)} for i, run in enumerate(runs)],
        "panels": run_plots.panels(runs),
        "details": details,
        "alarms": [(run.name, alarm) for run in runs for alarm in run.alarms],
        "card_limit": _CARD,
        "summary": plain({"schema": 1, "runs": [summary(run) for run in runs]}),
    }
    return save(render("run.html", **context), path)


def summary(run: Run) -> dict[str, Any]:
    """The last figures of a run; None where a metric was not logged. Loss in nats, seconds of wall clock."""
    return {
        "name": run.name,
        "objective": run.objective,
        "steps": run.steps,
        "epochs": run.epochs,
        "loss": run.last("loss", "train_loss"),
        "eval_loss": run.last("eval_loss"),
        "accuracy": run.last("rewards/accuracies"),
        "eval_accuracy": run.last("eval_rewards/accuracies"),
        "margin": run.last("eval_rewards/margins", "rewards/margins"),
        "noise_rate": run.last("lcpo/noise_rate"),
        "seconds": run.last("train_runtime"),
        "alarms": len(run.alarms),
    }


def _latest(run: Run) -> dict[str, Any]:
    """The annotators' table, least reliable first: from cross-fitting with intervals, else the last epoch, else the log."""
    if run.crossfit:
        found, source = run.crossfit["annotators"], "crossfit"
    elif run.annotators:
        found, source = run.annotators, "epoch"
    else:
        found, source = {n: {"reliability": values[-1]} for n, (_, values) in run.reliabilities().items()}, "log"
    keys = ("reliability", "low", "high", "labels")
    rows = [(name, {k: a.get(k) for k in keys}) for name, a in found.items() if a.get("reliability") is not None]
    rows.sort(key=lambda item: item[1]["reliability"])
    return {"rows": rows[:_ANNOTATORS], "hidden": max(0, len(rows) - _ANNOTATORS), "source": source}


def _colour(index: int) -> str:
    names = {value: key for key, value in run_plots.plots.COLOURS.items()}
    return f"var(--{names[run_plots.LINES[index % len(run_plots.LINES)]]})"
