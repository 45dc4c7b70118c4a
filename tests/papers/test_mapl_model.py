"""MAPL on a real model class: a Llama from disk, trained by `assent.train` on prompts with instructions that it was given."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from tiny_llama import pair_dicts, three_steps

from assent.data.fields import key
from assent.data.views import Given, of_row
from assent.objectives import parse
from assent.records import Pair


@pytest.mark.parametrize("part", ["intra", "both"])
def test_mapl_trains_a_llama(tmp_path, part):
    rows = pair_dicts(16, annotators=1)
    text = {"intra": "mapl_intra(beta=0.5)", "both": "mapl_reconstructed(a1=0.5, a2=0.25, beta=0.5)"}[part]
    found = three_steps(tmp_path, text, rows, max_length=128)
    needs = [need for need in parse(text).needs if need.kind == "view"]
    views = [of_row(Given(Pair(r["prompt"], r["chosen"], r["rejected"]), 0, key(r["prompt"]), 0), needs) for r in rows]
    share = {kind: sum(any(kind in name for name in view) for view in views) / 16 for kind in ("intra", "for_")}
    ln2 = {"intra": share["intra"], "both": 1 + 0.5 * share["intra"] + 0.25 * 2 * share["for_"]}[part]
    assert share["intra"] > 0.5
    assert abs(found.start.loss - ln2 * math.log(2)) < 1e-5  # policy = reference, a row without views adds nothing
    assert found.metrics["loss"] < found.start.loss
