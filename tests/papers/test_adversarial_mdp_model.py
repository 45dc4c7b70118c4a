"""The forward-KL policy on a real model class: a small Llama trained by `assent.train` on scored groups."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from tiny_llama import three_steps


def test_forward_kl_trains_a_llama_on_groups(tmp_path):
    ends = ("well", "badly", "fine")
    rows = [
        {"prompt": f"Say {i} ", "completions": [f"it goes {end}" for end in ends], "scores": [1.0, 0.0, 0.5]}
        for i in range(24)
    ]
    found = three_steps(tmp_path, "forward_kl(tau=0.1)", rows)
    assert found.metrics["loss"] < found.start.loss < 0.0  # minus the mean score at policy = reference
