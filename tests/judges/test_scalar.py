"""A reward model as a judge: scores equal one unpadded pass each, several labels and endless text refused."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from assent import AssentError
from assent.judges import ask, reward_model

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "training"))
from small_run import small_tokenizer

PROMPTS = ["a cat", "the dog", "a cat"]
COMPLETIONS = [" sees fish", " well", " likes the big red bird there"]


def model(labels: int = 1):
    from transformers import LlamaConfig, LlamaForSequenceClassification

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=60, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2, num_labels=labels,
        pad_token_id=0, initializer_range=0.2,
    )  # fmt: skip
    return LlamaForSequenceClassification(config)


def test_scores_equal_one_unpadded_pass_each(tmp_path: Path) -> None:
    model().save_pretrained(tmp_path)
    small_tokenizer().save_pretrained(tmp_path)
    judge = reward_model(str(tmp_path), batch_size=2)
    found = judge.score(PROMPTS, COMPLETIONS)
    lm, tokenizer = model().eval(), small_tokenizer()
    for prompt, completion, score in zip(PROMPTS, COMPLETIONS, found, strict=True):
        ids = [*tokenizer(prompt + completion)["input_ids"], tokenizer.eos_token_id]
        with torch.no_grad():
            expected = lm(input_ids=torch.tensor([ids])).logits[0, 0].item()
        assert score == pytest.approx(expected, abs=1e-6)
    verdicts = ask(judge, PROMPTS[:1], COMPLETIONS[:1], COMPLETIONS[1:2])
    assert 0 < verdicts.p[0] < 1 and judge.scored and np.isfinite(found).all()


def expected_scores(lm, tokenizer, texts: list[str], end: bool) -> list[float]:
    """transformers alone: one unpadded pass of each text."""
    scores = []
    for text in texts:
        ids = tokenizer(text, add_special_tokens=end)["input_ids"] + [tokenizer.eos_token_id] * end
        with torch.no_grad():
            scores.append(lm(input_ids=torch.tensor([ids])).logits[0, 0].item())
    return scores


@pytest.mark.parametrize("pad", [0, 2, None])
def test_the_padding_of_the_configuration_is_kept(pad: int | None) -> None:
    """pad 2 is the end token, before which transformers reads; None takes the tokenizer's."""
    lm, tokenizer = model().eval(), small_tokenizer()
    lm.config.pad_token_id = pad
    found = reward_model(lm, tokenizer, batch_size=3).score(PROMPTS, COMPLETIONS)
    assert lm.config.pad_token_id == (pad or 0)
    texts = [p + c for p, c in zip(PROMPTS, COMPLETIONS, strict=True)]
    assert found.tolist() == pytest.approx(expected_scores(lm, tokenizer, texts, True), abs=1e-6)


def test_conversations_go_through_the_template_which_sets_their_end() -> None:
    lm, tokenizer = model().eval(), small_tokenizer()
    tokenizer.chat_template = "{% for m in messages %}{{ ' ' + m['content'] }}{% endfor %}"
    prompts = [[{"role": "user", "content": prompt}] for prompt in PROMPTS]
    said = [completion.strip() for completion in COMPLETIONS]
    found = reward_model(lm, tokenizer, batch_size=2).score(prompts, said)
    texts = [f" {p} {c}" for p, c in zip(PROMPTS, said, strict=True)]
    assert found.tolist() == pytest.approx(expected_scores(lm, tokenizer, texts, False), abs=1e-6)
    messages = [[{"role": "assistant", "content": text}] for text in said]
    assert reward_model(lm, tokenizer).score(prompts, messages).tolist() == pytest.approx(found.tolist(), abs=1e-6)


def test_a_causal_model_and_a_classifier_are_refused_by_their_directories(tmp_path: Path) -> None:
    from small_run import save_small_model

    with pytest.raises(AssentError, match="without a trained head; train one from it with bradley_terry"):
        reward_model(str(save_small_model(tmp_path / "causal")))
    model(3).save_pretrained(tmp_path / "several")
    small_tokenizer().save_pretrained(tmp_path / "several")
    with pytest.raises(AssentError, match="is a classifier with 3 outputs; expected a reward model"):
        reward_model(str(tmp_path / "several"))


def test_other_models_are_refused(tmp_path: Path) -> None:
    with pytest.raises(AssentError, match="has 3 labels; expected one output"):
        reward_model(model(3), small_tokenizer())
    with pytest.raises(AssentError, match="pass its tokenizer too"):
        reward_model(model())
    with pytest.raises(AssentError, match="cannot be loaded as a reward model"):
        reward_model(str(tmp_path / "nowhere"))
    with pytest.raises(AssentError, match=r"expected 1 to 4 \(max_length\)"):
        reward_model(model(), small_tokenizer(), max_length=4).score(PROMPTS, COMPLETIONS)
