"""The trainer's log on disk while the run goes on, for ``assent report --watch``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from assent.training.checkpoints import write_aside

LEAST = 1.0
"""Seconds between two writings, at least."""
SHARE = 0.01
"""Share of the run's time that writing may take: the file holds all logs and grows."""


class LiveLog(TrainerCallback):
    """Writes ``trainer_state.json`` of the run's directory soon after each log, and at the end of training."""

    def __init__(self, output_dir: str | Path) -> None:
        self.path, self.new, self.next = Path(output_dir) / "trainer_state.json", False, 0.0

    def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.new = True
        self._write(state)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._write(state)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.next = 0.0
        self._write(state)

    def _write(self, state: Any) -> None:
        started = time.monotonic()
        if not self.new or not state.is_world_process_zero or started < self.next:
            return
        write_aside(self.path, lambda aside: state.save_to_json(str(aside)))
        self.new, now = False, time.monotonic()
        self.next = now + max(LEAST, (now - started) / SHARE)
