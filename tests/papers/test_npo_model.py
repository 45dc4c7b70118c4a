"""NPO on a real model class: a Llama from disk, trained by `assent.train`, reloaded by transformers."""

from __future__ import annotations

import math
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from tiny_llama import pair_dicts, three_steps


def test_npo_makes_a_llama_forget(tmp_path):
    rows = [{"prompt": r["prompt"], "completion": r[side], "label": side == "chosen"}
            for r in pair_dicts(12, annotators=1) for side in ("chosen", "rejected")]  # fmt: skip
    found = three_steps(tmp_path / "npo", "npo(beta=0.1)", rows)
    assert abs(found.start.loss - 20 * math.log(2)) < 1e-4 and found.metrics["loss"] < found.start.loss
    found = three_steps(tmp_path / "retain", "npo_retain(beta=0.1)", rows)
    assert found.start.loss > 20 * math.log(2) and found.metrics["loss"] < found.start.loss
