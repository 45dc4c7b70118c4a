"""SPPO on a real model class: a small Llama trained by `assent.train`; new samples each round wait for the sampling loop."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from tiny_llama import three_steps


def test_sppo_trains_a_llama(tmp_path):
    found = three_steps(tmp_path, "sppo(beta=0.25)", learning_rate=1e-3)
    assert abs(found.start.loss - 8.0) < 1e-4  # two squares of 1 / (2 beta)
    assert found.metrics["loss"] < found.start.loss
    assert found.metrics["rewards/margins"] > 0
