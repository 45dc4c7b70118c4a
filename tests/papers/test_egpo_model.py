"""EGPO's loss on a real model class: a small Llama trained by `assent.train` on judged pairs; half steps wait for the loop."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from tiny_llama import pair_dicts, three_steps


def test_egpo_trains_a_llama(tmp_path):
    rows = [row | {"win_rate_chosen": 0.55, "win_rate_rejected": 0.45} for row in pair_dicts(24, annotators=1)]
    found = three_steps(tmp_path, "egpo(beta=0.1)", rows)
    assert abs(found.start.loss - 1.0) < 1e-5  # (0 - .1 / .1)^2 at policy = reference
    assert found.metrics["loss"] < found.start.loss
