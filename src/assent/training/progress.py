"""What a run says while it runs, on stderr: five live figures on a terminal, a line a log elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from transformers import TrainerCallback

from assent.scores import GroupScores, PairScores
from assent.training.board import CHANGE, SCORE, Board, five
from assent.training.ranks import all_reduce, first_rank

SHOWN = ("loss", "eval_loss", "rewards/accuracies", "eval_rewards/accuracies", "rewards/margins", "logps/chosen",
         "lcpo/noise_rate", "learning_rate")  # fmt: skip
EVERY = 0.25
"""Seconds between two drawings, at least."""


class _Screen:
    """The one live display of this process: a terminal has no room for two."""

    def __init__(self) -> None:
        self.plain, self.live, self.board, self.drawn = False, None, None, 0.0

    def open(self, board: Any) -> bool:
        """Draw a board where stderr is a terminal that can move its cursor; whether it can."""
        from rich.console import Console
        from rich.live import Live

        console = Console(stderr=True)
        if self.plain or self.live is not None or not console.is_terminal or console.is_dumb_terminal:
            return False
        # What others write to stderr meanwhile goes above the board; stdout is left to the result.
        self.live = Live(board, console=console, auto_refresh=False, redirect_stdout=False)
        self.board, self.drawn = board, 0.0
        self.live.start(refresh=True)
        return True

    def draw(self, now: bool = False) -> None:
        """Show the board as it is, unless it was drawn a moment ago."""
        if self.live is not None and (now or time.monotonic() - self.drawn >= EVERY):
            self.live.refresh()
            self.drawn = time.monotonic()

    def close(self) -> None:
        """Draw a last time and give the terminal back."""
        if self.live is not None:
            live, self.live, self.board = self.live, None, None
            live.refresh()
            live.stop()


_screen = _Screen()


def plain_lines() -> None:
    """No live display in this process: its output is read by programs."""
    _screen.plain = True


@contextmanager
def tidy() -> Iterator[None]:
    """Whatever ends the block, the terminal is as it was before."""
    try:
        yield
    finally:
        _screen.close()


def say(sentence: str) -> None:
    """One line on stderr, by the first rank only."""
    if first_rank():
        print(f"assent: {sentence}", file=sys.stderr, flush=True)


@contextmanager
def counting(what: str) -> Iterator[Callable[[int, int], None]]:
    """A function of (done, total) that shows how far it is on a terminal, by the first rank."""
    own = _screen.live is None
    board, opened = (_Counter(), False) if own else (_screen.board, True)

    def move(done: int, total: int) -> None:
        nonlocal opened
        if first_rank():
            board.task = f"{what}: {done:,} of {total:,}"
            if not opened:
                opened = True
                _screen.open(board)
            _screen.draw()

    try:
        yield move
    finally:
        if own:
            _screen.close()
        else:
            board.task = ""


class _Counter:
    """A board of one line."""

    task = ""

    def __rich__(self) -> Any:
        from rich.text import Text

        return Text(self.task, no_wrap=True, overflow="ellipsis")


class Progress(TrainerCallback):
    """Shows a run: the five figures that its objective asks for, live on a terminal, else a line a log.

    One of the trainer's callbacks, and one of its observers (called with rows, scores and the objective's state), for what
    is shown and not logged.  held_out: whether the run evaluates.  show_bar=False: lines everywhere.
    """

    def __init__(self, objective: Any = None, *, held_out: bool = False, show_bar: bool = True) -> None:
        self.figures = () if objective is None else five(objective, held_out)
        self.show_bar, self.board, self.sums = show_bar and bool(self.figures), None, None

    def __call__(self, rows: Sequence[Any], scores: Any, state: Mapping[str, Tensor]) -> None:
        """Count what the figures need of one micro-batch; kept on the device until a log."""
        with torch.no_grad():
            if isinstance(scores, PairScores) and scores.chosen.ref_logp is not None:
                weight = scores.ones() if scores.weight is None else scores.weight
                parts = ((weight * (scores.chosen.logp - scores.chosen.ref_logp)).sum(), weight.sum())
            elif isinstance(scores, GroupScores):
                weight = scores.ones() if scores.weight is None else scores.weight
                mean = scores.sum_groups(scores.score) / scores.sum_groups(torch.ones_like(scores.score))
                parts = ((weight * mean).sum(), weight.sum())
            else:
                return
            sums = torch.stack([part.detach().double() for part in parts])
            self.sums = sums if self.sums is None else self.sums + sums

    def _own(self) -> dict[str, float]:
        """What was counted since the last log, over all ranks."""
        name = next((figure.name for figure in self.figures if figure.name in (CHANGE, SCORE)), None)
        if name is None or self.sums is None:
            return {}
        total, count = all_reduce(self.sums).tolist()
        self.sums = None
        return {name: total / count} if count > 0 else {}

    # ---- the trainer's calls --------------------------------------------------------------------------

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self.show_bar and state.is_world_process_zero:
            board = Board(self.figures, state.max_steps, state.global_step)
            self.board = board if _screen.open(board) else None

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self.board is not None:
            self.board.done = state.global_step
            _screen.draw()

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        if not logs:
            return
        own = self._own() if "loss" in logs else {}  # every rank takes part
        if not state.is_world_process_zero:
            return
        if self.board is not None:
            self.board.done = state.global_step
            self.board.log({**logs, **own})
            _screen.draw(now=True)
            return
        found = [f"{name} {logs[name]:.4g}" for name in SHOWN if isinstance(logs.get(name), int | float)]
        if found:
            print(f"step {state.global_step}/{state.max_steps}  " + "  ".join(found), file=sys.stderr, flush=True)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self.board is not None:
            self.board = None
            _screen.close()
