"""The five figures that a terminal shows while a run goes on, chosen by what the run minimises."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from assent.objectives import Objective
from assent.training.metrics import lcpo_terms

CHANGE = "shown/chosen_change"
"""Mean of log-probability less the reference's over the chosen sides since the last log, nats per sequence."""
SCORE = "shown/score"
"""Mean score of the completions in groups since the last log."""


@dataclass(frozen=True)
class Figure:
    """One column: what it is, in which unit or on which rows, and the logged name it shows."""

    label: str
    note: str
    name: str
    percent: bool = False


def five(objective: Objective, held_out: bool) -> tuple[Figure, ...]:
    """The figures of a run of ``objective``; ``held_out``: whether it evaluates on rows of its own.

    Pairs: is it fitting (loss), does it carry over (held-out loss and accuracy), is the margin bought by making the chosen
    side less likely, and how many labels LCPO takes for wrong.
    """
    found = [Figure("loss", "training", "loss")]
    noisy = bool(lcpo_terms(objective))
    if held_out and not (noisy and objective.data == "pairs"):
        found.append(Figure("loss", "held out", "eval_loss"))
    accuracy = Figure("accuracy", "held out", "eval_rewards/accuracies", True)
    if not held_out:
        accuracy = Figure("accuracy", "training", "rewards/accuracies", True)
    noise = [Figure("noise rate", "of labels", "lcpo/noise_rate", True)] if noisy else []
    kinds = {need.kind for need in objective.needs}
    if objective.data == "pairs" and "reward" in kinds:
        found += [accuracy, Figure("margin", "of scores", "rewards/margins"), *noise]
        found += [Figure("chosen", "score", "rewards/chosen"), Figure("rejected", "score", "rewards/rejected")]
    elif objective.data == "pairs":
        moved = Figure("chosen", "vs. ref.", CHANGE)
        chosen = moved if "reference" in kinds else Figure("chosen", "log-prob.", "logps/chosen")
        found += [accuracy, Figure("margin", "nats", "rewards/margins"), chosen, *noise]
        found += [Figure("rejected", "log-prob.", "logps/rejected")]
    elif objective.data == "labelled":
        found += [Figure("liked", "reward", "rewards/chosen"), Figure("disliked", "reward", "rewards/rejected"), *noise]
        found += [Figure("liked", "log-prob.", "logps/chosen"), Figure("disliked", "log-prob.", "logps/rejected")]
    elif objective.data == "completions":
        found += [Figure("loss", "per token", "nll/token")]
        found += [Figure("loss", "tok., held", "eval_nll/token")] if held_out else []
        found += [Figure("log-prob.", "of a text", "logps/completion"), Figure("gradient", "norm", "grad_norm")]
        found += [Figure("rate", "of learning", "learning_rate")]
    else:
        found += [Figure("score", "mean", SCORE), accuracy, Figure("spread", "of rewards", "rewards/spread")]
        found += [Figure("log-prob.", "of a text", "logps/completion"), Figure("gradient", "norm", "grad_norm")]
    return tuple(found[:5])


def shown(value: float | None, percent: bool = False) -> str:
    """A value in at most eight characters; a dash where there is none yet.

    >>> shown(0.69314), shown(-123.4), shown(0.283, True), shown(None)
    ('0.693', '-123', '28.3 %', '-')
    """
    if value is None or not math.isfinite(value):
        return "-"
    if percent:
        return f"{100 * value:.1f} %"
    size = abs(value)
    if size and not 1e-3 <= size < 1e6:
        return f"{value:.1e}"
    return f"{value:.{0 if size >= 100 else 1 if size >= 10 else 2 if size >= 1 else 3}f}"


def span(seconds: float) -> str:
    """Seconds as ``4:05`` or ``1:02:03``."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


class Board:
    """What rich draws: a bar over the optimiser steps, five figures with where they went since the log before, and a task.

    total, begun: steps of the run, and those that an earlier part of it made.  task: a line on what else is going on.
    """

    def __init__(
        self, figures: tuple[Figure, ...], total: int, begun: int = 0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.figures, self.total, self.begun, self.done, self.task = figures, total, begun, begun, ""
        self.clock, self.started = clock, clock()
        self.now: dict[str, float] = {}
        self.before: dict[str, float] = {}

    def log(self, logs: Mapping[str, Any]) -> None:
        """Take what was logged; what this log does not name keeps its value and its arrow."""
        for figure in self.figures:
            value = logs.get(figure.name)
            if isinstance(value, int | float) and math.isfinite(value):
                if figure.name in self.now:
                    self.before[figure.name] = self.now[figure.name]
                self.now[figure.name] = float(value)

    def _bar(self) -> Any:
        from rich.progress_bar import ProgressBar
        from rich.table import Table

        elapsed, made = self.clock() - self.started, self.done - self.begun
        left = f"{span(elapsed / made * (self.total - self.done))} left" if made and self.done < self.total else ""
        line = Table.grid(padding=(0, 1), expand=True)
        for ratio in (None, 1, None, None):
            line.add_column(ratio=ratio, no_wrap=True)
        share = self.done / max(1, self.total)
        bar = ProgressBar(total=max(1, self.total), completed=self.done)
        line.add_row(f"step {self.done}/{self.total}", bar, f"{100 * share:.0f} %", left or f"{span(elapsed)} taken")
        return line

    def _figures(self, width: int, ascii_only: bool) -> Any:
        from rich.table import Table
        from rich.text import Text

        table = Table.grid(padding=(0, 2, 0, 0))
        figures = self.figures[: max(1, (width + 2) // 12)]  # a figure that is cut would be read as another one
        for _ in figures:
            table.add_column(justify="right", min_width=10, no_wrap=True)
        table.add_row(*(Text(figure.label, style="bold") for figure in figures))
        table.add_row(*(Text(figure.note, style="dim") for figure in figures))
        up, down = ("^", "v") if ascii_only else ("↑", "↓")
        cells = []
        for figure in figures:
            now, before = self.now.get(figure.name), self.before.get(figure.name)
            went = " " if now is None or before is None or now == before else up if now > before else down
            cells.append(Text.assemble(shown(now, figure.percent), " ", (went, "dim")))
        table.add_row(*cells)
        return table

    def __rich_console__(self, console: Any, options: Any) -> Any:
        """Three or four lines, no wider than the terminal."""
        from rich.text import Text

        limited = options.update(width=min(options.max_width, 100))
        yield from console.render(self._bar(), limited)
        yield from console.render(self._figures(limited.max_width, options.ascii_only), limited)
        if self.task:
            yield Text(self.task, style="dim", no_wrap=True, overflow="ellipsis")
