"""rDPO on a real model class: a Llama from disk, trained by `assent.train`, reloaded by transformers."""

from __future__ import annotations

import math
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from tiny_llama import three_steps


def test_rdpo_trains_a_llama(tmp_path):
    found = three_steps(tmp_path, "rdpo(beta=1.0, eps=0.2)")
    # ln 2 whatever the flip rate where policy and reference agree
    assert abs(found.start.loss - math.log(2)) < 1e-5 and found.metrics["loss"] < found.start.loss
