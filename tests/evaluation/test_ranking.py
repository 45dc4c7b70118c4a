"""``assent.evaluate`` against a loop that scores one sequence at a time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from assent import AssentError
from assent.evaluation import evaluate
from tiny_models import save_tiny_llama

ROWS = [
    {"prompt": "name a colour", "chosen": " red is one", "rejected": " no", "annotator": "anna"},
    {"prompt": "name a colour", "chosen": " red is one", "rejected": " no", "annotator": "ben", "p_chosen": 0.25},
    {"prompt": "count to two", "chosen": " one two", "rejected": " two one two", "weight": 3.0},
    {"prompt": "say yes", "chosen": " yes", "rejected": " no"},
]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_llama(tmp_path_factory.mktemp("model"))


def _logp(model: Any, tokenizer: Any, prompt: str, completion: str) -> tuple[float, int]:
    """Sum over the completion's tokens (EOS included) and their number, one unpadded sequence at a time."""
    head = len(tokenizer(prompt).input_ids)  # this tokenizer adds no begin token, and a byte is a token
    ids = [*tokenizer(prompt + completion).input_ids, tokenizer.eos_token_id]
    with torch.no_grad():
        logp = model(torch.tensor([ids])).logits[0].double().log_softmax(-1)
    return sum(logp[t - 1, ids[t]].item() for t in range(head, len(ids))), len(ids) - head


def test_ranking_equals_a_loop_over_single_sequences(model: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    data = tmp_path / "held_out.jsonl"
    data.write_text("\n".join(map(json.dumps, ROWS)))
    policy, tokenizer = AutoModelForCausalLM.from_pretrained(model), AutoTokenizer.from_pretrained(model)
    right = margin = weights = 0.0
    for row in ROWS:
        (c, n), (r, m) = (_logp(policy, tokenizer, row["prompt"], row[side]) for side in ("chosen", "rejected"))
        gap, p, w = 2.0 * (c / n - r / m), row.get("p_chosen", 1.0), row.get("weight", 1.0)
        right, margin, weights = right + w * (p if gap > 0 else 1 - p), margin + w * gap, weights + w
    found = evaluate(model, data, objective="simpo(beta=2.0, gamma=0.5)", batch_size=2)
    assert (found.pairs, found.labels) == (3, 6.0)
    assert found.accuracy == pytest.approx(right / weights, abs=1e-9)
    assert found.margin == pytest.approx(margin / weights, abs=1e-5)


def test_a_model_is_its_own_reference_at_the_start(model: Path, tmp_path: Path) -> None:
    data = tmp_path / "held_out.jsonl"
    data.write_text("\n".join(map(json.dumps, ROWS)))
    found = evaluate(model, data, objective="dpo(beta=0.5)", reference=model)
    assert found.margin == pytest.approx(0.0, abs=1e-6)
    assert found.loss == pytest.approx(0.6931472, abs=1e-6)
    assert found.accuracy == pytest.approx(0.5, abs=1e-9)


def test_a_reference_that_nothing_reads_and_one_that_is_missing_are_refused(model: Path) -> None:
    with pytest.raises(AssentError, match="reads no reference"):
        evaluate(model, ROWS, objective="simpo()", reference=model)
    with pytest.raises(AssentError, match="--reference"):
        evaluate(model, ROWS, objective="dpo()")
    with pytest.raises(AssentError, match="ranking needs pairs"):
        evaluate(model, [{"prompt": "a", "completion": "b"}], objective="sft()")
