"""A few steps of `assent.train` on a tiny Llama from disk, for the papers' real-architecture marks."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

import assent

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "training"))
from small_run import largest_difference, pair_dicts, save_small_model, small_model, write_jsonl


def three_steps(folder: Path, objective: str, rows: list[dict[str, Any]] | None = None, **arguments: Any) -> Any:
    """Train for three steps and reload what was written with transformers; the run must have moved the weights.

    rows: pairs whose chosen side ends with "well" where None.  Returns the result, its reloaded model as ``reloaded``.
    """
    from transformers import AutoModelForCausalLM

    save_small_model(folder / "model")
    data = write_jsonl(folder / "pairs.jsonl", pair_dicts(24, annotators=1) if rows is None else rows)
    quick = {
        "max_steps": 3, "per_device_train_batch_size": 24, "learning_rate": 1e-2, "seed": 0, "save_strategy": "no",
        "use_cpu": True, "disable_tqdm": True, "logging_steps": 1, "max_length": 64,
    }  # fmt: skip
    found = assent.train(str(folder / "model"), str(data), objective, folder / "out", **quick | arguments)
    reloaded = AutoModelForCausalLM.from_pretrained(folder / "out")
    assert found.steps == 3 and all(math.isfinite(x) for x in found.metrics.values()), found.metrics
    assert largest_difference(reloaded, found.model) == 0.0 and largest_difference(reloaded, small_model()) > 1e-3
    assert json.loads((folder / "out" / "config.json").read_text())["model_type"] == "llama"
    return found
