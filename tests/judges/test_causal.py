"""A language model as the judge: its odds by hand, both orders, and self-judging in a run."""

from __future__ import annotations

import random
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from assent import AssentError
from assent.judges import CausalJudge, ask, causal_judge, judge_of

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "training"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "data"))
from chat_templates import CHATML
from small_run import save_small_model, sentence, small_model, small_tokenizer, write_jsonl

QUESTION, WORDS = "the {prompt} sees {first} then {second} finds", (" cat", " dog")
PROMPTS, A, B = (
    ["a", "big cat", "fish", "red"],
    ["bird", "a dog sees fish", "cat", "now"],
    ["blue", "now", "cat", "here there"],
)


def small(**fields) -> CausalJudge:
    return CausalJudge(
        small_model(), small_tokenizer(), **{"question": QUESTION, "words": WORDS, "batch_size": 3} | fields
    )


def chance(text: str) -> float:
    """The first word's share of the two, by one pass over one text."""
    tokenizer = small_tokenizer()
    with torch.no_grad():
        logits = small_model()(torch.tensor([tokenizer(text)["input_ids"]])).logits[0, -1].double()
    p = logits.softmax(-1)[tokenizer.convert_tokens_to_ids(["Ġcat", "Ġdog"])]
    return float(p[0] / p.sum())


def test_odds_by_hand_and_both_orders() -> None:
    judge = small()
    there = [chance(QUESTION.format(prompt=x, first=a, second=b)) for x, a, b in zip(PROMPTS, A, B, strict=True)]
    back = [chance(QUESTION.format(prompt=x, first=b, second=a)) for x, a, b in zip(PROMPTS, A, B, strict=True)]
    found = judge.prefer(PROMPTS, A, B)
    np.testing.assert_allclose(found, (np.array(there) + 1 - np.array(back)) / 2, atol=1e-6)
    np.testing.assert_allclose(found + judge.prefer(PROMPTS, B, A), 1.0, atol=1e-12)
    assert abs(found[2] - 0.5) < 1e-6, "equal answers"
    assert ask(judge, PROMPTS, A, B).known.all() and judge.tally.asked == 4


def test_a_model_that_always_names_one_place_says_one_half() -> None:
    class Biased(torch.nn.Linear):
        def forward(self, input_ids, logits_to_keep, **_):
            logits = torch.zeros(len(input_ids), len(logits_to_keep), 60)
            logits[..., small_tokenizer().convert_tokens_to_ids("Ġcat")] = 9.0
            return SimpleNamespace(logits=logits)

    judge = CausalJudge(Biased(1, 1), small_tokenizer(), QUESTION, WORDS)
    assert (judge.prefer(PROMPTS, A, B) == 0.5).all() and judge.tally.contradicted == 4


def test_chat_templates_and_what_is_refused() -> None:
    tokenizer = small_tokenizer()
    with pytest.raises(AssentError, match="' A' and ' B' do not begin with tokens that tell them apart"):
        CausalJudge(small_model(), tokenizer)
    with pytest.raises(AssentError, match=r"must hold \{prompt\}, \{first\} and \{second\}"):
        small(question="{prompt} {other}")
    with pytest.raises(AssentError, match="has 8 tokens; expected at most 5"):
        small(max_length=5).prefer(["a"], ["a"], ["a"])
    tokenizer.chat_template = CHATML
    judge = CausalJudge(small_model(), tokenizer, QUESTION, WORDS)
    assert judge._tokens == tuple(tokenizer.convert_tokens_to_ids(["cat", "dog"]))
    text = tokenizer.apply_chat_template(
        [{"role": "user", "content": "the a sees a then a finds"}], tokenize=False, add_generation_prompt=True
    )
    assert judge._ids("a", "a", "a") == tokenizer(text, add_special_tokens=False)["input_ids"]


def test_from_the_command_lines_words(tmp_path) -> None:
    place = save_small_model(tmp_path / "model")
    with pytest.raises(AssentError, match="do not begin with tokens that tell them apart"):
        judge_of(f"model:{place}")
    with pytest.raises(AssentError, match="cannot be loaded as a judge"):
        causal_judge(tmp_path / "nothing")


def test_a_policy_judges_itself(tmp_path) -> None:
    """OSP's composition: samples, the start's own strengths, all ranked pairs, soft labels."""
    from assent import train
    from assent.sampling import rounds

    place = str(save_small_model(tmp_path / "model"))
    prompts = write_jsonl(tmp_path / "p.jsonl", [{"prompt": sentence(random.Random(i), 1, 4)} for i in range(4)])
    found = train(
        place, str(prompts), "osp_reconstructed(beta=0.5)", tmp_path / "out", judge=small(), source="iterative", rounds=1,
        samples=3, pairing="ranked", judge_labels="soft", max_new_tokens=5, max_length=64, learning_rate=1e-2,
        per_device_train_batch_size=8, use_cpu=True, disable_tqdm=True, warmup_steps=0,
    )  # fmt: skip
    data = rounds.read(tmp_path / "out" / "rounds" / "round-000")
    strengths = [
        (pair.labels[0].p, small().prefer([g.prompt], [g.texts[pair.chosen]], [g.texts[pair.rejected]])[0])
        for g in data.groups
        for pair in g.pairs
    ]
    assert len(strengths) >= 4 and all(abs(kept - told) < 1e-6 and 0.5 <= kept < 1 for kept, told in strengths)
    assert abs(found.start.loss - np.log(2)) < 1e-5
