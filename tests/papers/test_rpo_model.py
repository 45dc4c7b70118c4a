"""RPO on a real model class: a Llama from disk, trained by `assent.train`, reloaded by transformers."""

from __future__ import annotations

import math
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from tiny_llama import three_steps


def test_rpo_trains_a_llama(tmp_path):
    found = three_steps(tmp_path, "rpo(beta=0.1, eta=0.05)")
    # ln 2 and eta beta times the chosen completions' NLL, a few nats each
    assert math.log(2) < found.start.loss < math.log(2) + 0.005 * 100 and found.metrics["loss"] < found.start.loss
