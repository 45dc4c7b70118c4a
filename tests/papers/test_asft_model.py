"""ASFT on a real model class: a Llama from disk, trained by `assent.train`, reloaded by transformers."""

from __future__ import annotations

import math
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from tiny_llama import three_steps


def test_asft_trains_a_llama(tmp_path):
    found = three_steps(tmp_path, "asft()")
    assert math.isfinite(found.start.loss) and found.metrics["loss"] < found.start.loss
