"""What a run says while it runs, on stderr: a bar and a line a log."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from transformers import TrainerCallback

from assent.training.ranks import first_rank

SHOWN = ("loss", "eval_loss", "rewards/accuracies", "eval_rewards/accuracies", "rewards/margins", "logps/chosen",
         "lcpo/noise_rate", "learning_rate")  # fmt: skip


def say(sentence: str) -> None:
    """One line on stderr, by the first rank only."""
    if first_rank():
        print(f"assent: {sentence}", file=sys.stderr, flush=True)


@contextmanager
def counting(what: str) -> Iterator[Callable[[int, int], None]]:
    """A function of (done, total) that moves a bar on stderr, by the first rank and where stderr is a terminal."""
    from tqdm.auto import tqdm

    bar: Any = None

    def move(done: int, total: int) -> None:
        nonlocal bar
        if bar is None and first_rank():
            bar = tqdm(total=total, desc=what, dynamic_ncols=True, file=sys.stderr, unit="sequence", disable=None)
        if bar is not None:
            bar.update(done - bar.n)

    try:
        yield move
    finally:
        if bar is not None:
            bar.close()


class Progress(TrainerCallback):
    """A bar over the optimiser steps, and the main metrics of each log."""

    def __init__(self, show_bar: bool = True) -> None:
        self.show_bar, self.bar = show_bar, None

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self.show_bar and state.is_world_process_zero:
            from tqdm.auto import tqdm

            self.bar = tqdm(
                total=state.max_steps,
                initial=state.global_step,
                dynamic_ncols=True,
                file=sys.stderr,
                unit="step",
                disable=None,  # where stderr is no terminal
            )

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self.bar is not None:
            self.bar.update(state.global_step - self.bar.n)

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        if not state.is_world_process_zero or not logs:
            return
        shown = [f"{name} {logs[name]:.4g}" for name in SHOWN if isinstance(logs.get(name), int | float)]
        if not shown:
            return
        line = f"step {state.global_step}/{state.max_steps}  " + "  ".join(shown)
        if self.bar is not None and not self.bar.disable:
            self.bar.write(line, file=sys.stderr)
        else:
            print(line, file=sys.stderr, flush=True)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self.bar is not None:
            self.bar.close()
            self.bar = None
