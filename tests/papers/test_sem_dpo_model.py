"""Sem-DPO on a real model class: a Llama from disk, trained by `assent.train`, reloaded by transformers."""

from __future__ import annotations

import math
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from tiny_llama import pair_dicts, three_steps


def test_sem_dpo_trains_a_llama(tmp_path):
    rows = [row | {"distance_chosen": 0.5, "distance_rejected": 1.0} for row in pair_dicts(24, annotators=1)]
    found = three_steps(tmp_path, "sem_dpo(beta=1.0, alpha=2.0)", rows)
    assert abs(found.start.loss - math.exp(-1) * math.log(2)) < 1e-5 and found.metrics["loss"] < found.start.loss
