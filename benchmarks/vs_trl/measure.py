"""What every side measures alike: seconds of each step, peak memory above the start, and which tokens were trained on."""

from __future__ import annotations

import gc
import hashlib
import json
import os
import threading
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

EVERY = 0.005
"""Seconds between two looks at the resident memory."""


class Memory:
    """Peak resident memory in MB above what was resident when it was made: by looking every few ms and by the kernel's mark."""

    def __init__(self) -> None:
        gc.collect()
        self.start = self.peak = _resident()
        self.mark = _high_water()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while not self._done.wait(EVERY):
            self.peak = max(self.peak, _resident())

    def stop(self) -> float:
        """End watching; the peak in MB (10^6 bytes)."""
        self._done.set()
        self._thread.join()
        mark = _high_water()
        return (max(self.peak, mark if mark > self.mark else 0) - self.start) / 1e6


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _high_water() -> int:
    """The kernel's mark of this program; unlike ru_maxrss it does not carry over from the parent process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith("VmHWM")).split()[1])


class Clock(TrainerCallback):
    """Seconds of every optimiser step, by the wall and of the processor, from one step's end to the next; peak memory.

    It is made where a side is about to load the model, with everything imported; its memory ends with the last step.
    """

    def __init__(self, model: str) -> None:
        from transformers import AutoConfig
        from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING

        _ = MODEL_FOR_CAUSAL_LM_MAPPING[type(AutoConfig.from_pretrained(model))]  # imports the model's class
        self.before, self.ends, self.peak = 0.0, [], 0.0
        self.memory, self.made = Memory(), time.perf_counter()

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.before = time.perf_counter() - self.made
        self.ends = [(time.perf_counter(), time.process_time())]

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.ends.append((time.perf_counter(), time.process_time()))

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.peak = self.memory.stop()

    def report(self) -> dict[str, Any]:
        """Peak memory in MB, wall and processor seconds of each step, and the seconds before the first one (loading the
        model and the reference's pass)."""
        steps = [[after - before for before, after in zip(a, b, strict=True)]
                 for a, b in zip(self.ends, self.ends[1:], strict=False)]  # fmt: skip
        seconds, cpu_seconds = ([step[i] for step in steps] for i in (0, 1))
        return {"peak_mb": self.peak, "before": self.before, "seconds": seconds, "cpu_seconds": cpu_seconds}


def digest(sequences: Iterable[Sequence[int]]) -> str:
    """What stands for prompt, chosen and rejected ids of all rows in their order."""
    found = hashlib.sha256()
    for ids in sequences:
        found.update(json.dumps([int(i) for i in ids]).encode())
    return found.hexdigest()


def common(spec: dict[str, Any]) -> dict[str, Any]:
    """The training arguments that all sides share, by their names in transformers."""
    return {
        "per_device_train_batch_size": spec["batch"], "max_steps": spec["steps"], "learning_rate": spec["rate"],
        "lr_scheduler_type": "constant", "warmup_steps": 0, "optim": "adamw_torch_fused", "weight_decay": 0.0,
        "max_grad_norm": 1.0, "train_sampling_strategy": "sequential", "bf16": False, "use_cpu": True,
        "gradient_checkpointing": spec["checkpointing"], "logging_steps": 1, "save_strategy": "no",
        "report_to": "none", "disable_tqdm": True, "seed": spec["seed"],
    }  # fmt: skip


def losses(history: Iterable[dict[str, Any]]) -> list[float]:
    """The loss of every step from a trainer's log."""
    return [entry["loss"] for entry in history if "loss" in entry]


def finish(spec: dict[str, Any], **found: Any) -> None:
    """Write what a side found to the file that the parent reads."""
    import torch
    import transformers

    versions = {"torch": torch.__version__, "transformers": transformers.__version__}
    Path(spec["report"]).write_text(json.dumps({**found, "versions": versions}))
