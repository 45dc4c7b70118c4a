"""Gamma-scaled DPO on a real model class: a Llama from disk, trained by `assent.train`, reloaded by transformers."""

from __future__ import annotations

import math
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from tiny_llama import three_steps


def test_gamma_dpo_trains_a_llama(tmp_path):
    found = three_steps(tmp_path, "gamma_dpo(beta=0.1, gamma=0.5)")
    assert found.start.margin == 0.0 and abs(found.start.loss - math.log(2)) > 1e-3  # the reference's gap counts
    assert found.metrics["loss"] < found.start.loss
