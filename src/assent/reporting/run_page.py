"""The page of ``assent report``: what training runs did, one or several side by side."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from assent.reporting import diagnosis_page, noise_page, run_plots
from assent.reporting.page import plain, render, save
from assent.reporting.pair_table import describe
from assent.reporting.runs import Run, read_all
from assent.reporting.win_rate_plots import win_rates
from assent.training.provenance import read_labels

_CARD = 20_000  # characters of configuration and card on the page


def write(run_dirs: Sequence[str | os.PathLike[str]], path: str | os.PathLike[str], *, text: bool = True) -> Path:
    """Write one page about the runs in `run_dirs` and return its path.

    text=False leaves every prompt and response out.
    Raises AssentError where a directory is no run, or where the page cannot be written.
    """
    return save(html(run_dirs, text=text), path)


def served(run_dirs: Sequence[str | os.PathLike[str]], path: str | os.PathLike[str]) -> Path:
    """As `write`, for a server that gives the full texts of a pair at ``pair/RUN/PAIR`` (runs from 0 as given)."""
    return save(html(run_dirs, live={"pair": "pair/{run}/{pair}"}), path)


def html(
    run_dirs: Sequence[str | os.PathLike[str]], *, text: bool = True, live: Mapping[str, Any] | None = None
) -> str:
    """The page about the runs in `run_dirs`.

    live: where the page is served, what its script is told: ``pair``, the address of a pair's full texts with ``{run}`` and
    ``{pair}`` in it (they are those of `report_texts.texts_of`).
    """
    runs = read_all(run_dirs)
    details = []
    for i, run in enumerate(runs):
        labels = read_labels(run.path)
        details.append({
            "run": run, "figures": noise_page.figures(run, len(runs) > 1), "colour": _colour(i),
            "latest": noise_page.latest(run), "data": {} if labels is None else describe(labels[1]),
        })  # fmt: skip
    context = {
        "title": f"Run {runs[0].name}" if len(runs) == 1 else f"{len(runs)} runs compared",
        "rows": [
            summary(run) | {"colour": _colour(i), "objective": objective_words(run.objective)}
            for i, run in enumerate(runs)
        ],
        "panels": [f for f in (*run_plots.panels(runs), win_rates(runs)) if f],
        "details": details,
        "blocks": noise_page.blocks(runs, text=text),
        "diagnostics": diagnosis_page.context(runs),
        "samples": [found for run in runs if text and (found := diagnosis_page.samples(run))],
        "alarms": [(run.name, alarm) for run in runs for alarm in run.alarms],
        "card_limit": _CARD,
        "summary": plain({"schema": 1, "runs": [summary(run) for run in runs]}),
    }
    return render("run.html", styles=("run.css",), scripts=("detail.js", "noise.js"), live=live, **context)


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


def objective_words(expression: str | None) -> str | None:
    """The objective with numbers of four digits: estimates that went into it have many more.

    >>> objective_words("lcpo(dpo(beta=0.1), reliability={'anna': 0.9752235125926461})")
    "lcpo(dpo(beta=0.1), reliability={'anna': 0.9752})"
    """
    if expression is None:
        return None
    return re.sub(r"\d+\.\d{5,}(?:e-?\d+)?", lambda m: f"{float(m.group()):.4g}", expression)


def _colour(index: int) -> str:
    names = {value: key for key, value in run_plots.plots.COLOURS.items()}
    return f"var(--{names[run_plots.LINES[index % len(run_plots.LINES)]]})"
