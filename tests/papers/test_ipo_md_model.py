"""IPO with a judge's probabilities on a real model class; pairs drawn now and token mixtures wait for the sampling loop."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from tiny_llama import pair_dicts, three_steps


def test_ipo_trains_a_llama_on_judged_probabilities(tmp_path):
    rows = [row | {"p_chosen": 0.75} for row in pair_dicts(24, annotators=1)]
    found = three_steps(tmp_path, "ipo(tau=0.25)", rows, learning_rate=7e-4)
    assert abs(found.start.loss - 4.0) < 1e-4  # 1 / (4 tau^2), whatever the label
    # the label's own optimum is a gap of (p - 1/2) / tau = 1, where the loss is 3
    assert 3.0 - 1e-3 < found.metrics["loss"] < found.start.loss
