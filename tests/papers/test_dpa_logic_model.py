"""Compiled formulas on a real model class: a Llama from disk, trained by `assent.train`, reloaded by transformers."""

from __future__ import annotations

import math
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from tiny_llama import three_steps


def test_a_formula_trains_a_llama(tmp_path):
    found = three_steps(tmp_path / "a", "logic('M_l -> M_w given one-true', reference=True, per='sequence')")
    same = three_steps(tmp_path / "b", "dpo(beta=1.0)")
    # the same loss by two roads, and ln 2 where policy and reference agree
    assert abs(found.start.loss - math.log(2)) < 1e-5 and found.metrics["loss"] < found.start.loss
    assert abs(found.metrics["loss"] - same.metrics["loss"]) < 1e-4


def test_a_new_loss_inside_lcpo(tmp_path):
    found = three_steps(tmp_path, "lcpo(logic('cCPO', reference=True))")
    assert found.metrics["loss"] < found.start.loss and set(found.reliability) == {"ann0"}
