"""Flex-DPO and SFT-DPO on a real model class: a Llama from disk, trained by `assent.train`, reloaded by transformers."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from tiny_llama import three_steps


@pytest.mark.parametrize("objective", ["flex_dpo(beta_pos=0.1, beta_neg=0.05)", "sft_dpo(gamma=0.01, beta=0.1)"])
def test_the_regularisers_train_a_llama(tmp_path, objective):
    found = three_steps(tmp_path, objective)
    assert found.start.loss >= math.log(2) - 1e-5 and found.metrics["loss"] < found.start.loss
    if objective.startswith("flex"):
        assert abs(found.start.loss - math.log(2)) < 1e-5  # both log-ratios are 0 at the reference
