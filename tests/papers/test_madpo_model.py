"""MADPO on a real model class: a Llama from disk, trained by `assent.train`, reloaded by transformers."""

from __future__ import annotations

import math
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from tiny_llama import pair_dicts, three_steps


def test_madpo_trains_a_llama(tmp_path):
    rows = [row | {"logit": 2.0} for row in pair_dicts(24, annotators=1)]
    found = three_steps(tmp_path, "madpo(beta=1.0, c_max=4.0, c_min=0.25)", rows)
    ratio = (4 - 1) / (1 - 0.25) * math.exp(2 - math.log(999))
    c = 0.25 + (4 - 0.25) / (1 + ratio)
    weight = (1 + math.exp(-2)) / (1 + math.exp(-2 * c))
    assert abs(found.start.loss - weight * math.log(2)) < 1e-5 and found.metrics["loss"] < found.start.loss
