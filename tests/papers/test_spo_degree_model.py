"""SPO's degree terms on a real model class: a Llama from disk, trained with its heads by `assent.train`."""

from __future__ import annotations

import math
import sys
from pathlib import Path

from safetensors.torch import load_file

sys.path.insert(0, str(Path(__file__).parent))
from tiny_llama import pair_dicts, three_steps

from assent.data.keywords import keywords


def test_degree_terms_train_a_llama_and_its_heads(tmp_path):
    rows = pair_dicts(16, annotators=1)
    found = three_steps(
        tmp_path, "spo_degree_reconstructed(beta=0.5, gamma_w=0.3, gamma_l=0.2)", rows, head_learning_rate=0.5
    )
    # heads that start at 0 give ln 4 for the four degrees; a side of stop words alone has none
    chosen, rejected = (sum(bool(keywords(row[side])) for row in rows) for side in ("chosen", "rejected"))
    assert (chosen, rejected) == (14, 16)
    assert abs(found.start.loss - math.log(2) - (0.3 * 14 / 16 + 0.2) * math.log(4)) < 1e-5
    assert found.metrics["loss"] < found.start.loss
    heads = load_file(tmp_path / "out" / "assent_heads.safetensors")
    assert {name: tuple(x.shape) for name, x in heads.items() if name.endswith("weight")} == {
        "degree_chosen.weight": (4, 32),
        "degree_rejected.weight": (4, 32),
    }
    assert all(x.abs().max() > 0 for x in heads.values())
    assert not any("degree" in name for name in found.model.state_dict())
