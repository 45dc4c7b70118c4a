"""Scorer names, and the language-model scorers against one sequence at a time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from assent.auditing import audit
from assent.auditing.scorers import ScorerName, model_logits, parse_scorer
from assent.auditing.table import from_records
from assent.data import read
from assent.errors import AssentError
from assent.worlds import language, models

PROMPTS = language.prompts()[:4]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    from transformers.utils import logging

    logging.disable_progress_bar()
    tok = models.tokenizer()
    out = []
    for seed in (0, 1):
        folder = tmp_path_factory.mktemp("model")
        models.tiny_llama(len(tok), width=16, layers=1, seed=seed).save_pretrained(folder)
        tok.save_pretrained(folder)
        out.append(folder)
    return out[0], out[1]


def _rows() -> list[dict]:
    words = language.WORDS
    return [
        {"prompt": p, "chosen": " ".join(words[i : i + 3 + i % 2]), "rejected": " ".join(words[i + 5 : i + 9])}
        for i, p in enumerate(PROMPTS * 3)
    ]


def _logp(folder: Path, prompt: str, completion: str) -> tuple[float, int]:
    """Summed log-probability of the completion with its end token, and their number."""
    from transformers import AutoModelForCausalLM

    tok = models.tokenizer()
    model = AutoModelForCausalLM.from_pretrained(folder)
    start = len(tok(prompt)["input_ids"])
    ids = torch.tensor([tok(f"{prompt} {completion}")["input_ids"] + [tok.eos_token_id]])
    with torch.no_grad():
        logp = model(ids).logits[0, :-1].log_softmax(-1)
    own = logp[range(ids.shape[1] - 1), ids[0, 1:]][start - 1 :]
    return float(own.sum()), len(own)


def test_names() -> None:
    assert parse_scorer("text") == ScorerName("text")
    assert parse_scorer("policy:a, b") == ScorerName("policy", ("a", "b"))
    assert str(parse_scorer("lm:x/y")) == "lm:x/y"
    for wrong in ("text:more", "lm:", "lm:a,b", "policy:a,", "nothing"):
        with pytest.raises(AssentError, match="--scorer"):
            parse_scorer(wrong)


def test_a_language_model_gives_mean_token_log_probabilities(folders: tuple[Path, Path]) -> None:
    rows = [{**r, "prompt": r["prompt"] + " "} for r in _rows()]
    records = read(rows)
    got = model_logits(from_records(records), records, parse_scorer(f"lm:{folders[0]}"), batch_tokens=64)
    for i, pair in enumerate(records.rows):
        (a, n), (b, m) = _logp(folders[0], pair.prompt, pair.chosen), _logp(folders[0], pair.prompt, pair.rejected)
        assert got[i] == pytest.approx(a / n - b / m, abs=1e-5)


def test_a_policy_gives_log_ratios_and_no_margin_to_itself(folders: tuple[Path, Path]) -> None:
    rows = [{**r, "prompt": r["prompt"] + " "} for r in _rows()]
    records = read(rows)
    table = from_records(records)
    got = model_logits(table, records, parse_scorer(f"policy:{folders[0]},{folders[1]}"))
    for i, pair in enumerate(records.rows):
        sides = [[_logp(f, pair.prompt, text)[0] for f in folders] for text in (pair.chosen, pair.rejected)]
        assert got[i] == pytest.approx((sides[0][0] - sides[0][1]) - (sides[1][0] - sides[1][1]), abs=1e-4)
    same = model_logits(table, records, parse_scorer(f"policy:{folders[0]},{folders[0]}"))
    np.testing.assert_allclose(same, 0, atol=1e-6)


def test_an_audit_with_a_language_model(folders: tuple[Path, Path]) -> None:
    result = audit([{**r, "prompt": r["prompt"] + " "} for r in _rows()], scorer=f"lm:{folders[0]}")
    assert result.scorer.startswith("lm:") and np.isfinite(result.p_correct).all()
    assert 0 <= result.noise_rate_low <= result.noise_rate <= result.noise_rate_high <= 1


def test_a_model_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(AssentError):
        audit(_rows(), scorer=f"lm:{tmp_path}/none")
