"""BCO on a real model class: a Llama from disk, trained by `assent.train`, reloaded by transformers."""

from __future__ import annotations

import math
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from tiny_llama import pair_dicts, three_steps


def test_bco_trains_a_llama_on_pairs_and_on_labelled_completions(tmp_path):
    found = three_steps(tmp_path / "pairs", "bco_pair(beta=0.1)")
    assert abs(found.start.loss - 2 * math.log(2)) < 1e-5 and found.metrics["loss"] < found.start.loss
    rows = [{"prompt": r["prompt"], "completion": r[side], "label": side == "chosen"}
            for r in pair_dicts(12, annotators=1) for side in ("chosen", "rejected")]  # fmt: skip
    found = three_steps(tmp_path / "labelled", "bco(beta=0.1)", rows)
    assert abs(found.start.loss - 2 * math.log(2)) < 1e-5 and found.metrics["loss"] < found.start.loss
