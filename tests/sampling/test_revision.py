"""Self-revision: every stage is plain decoding of the request to improve the stage before."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch

from assent import AssentError
from assent.data.revision_views import revision_prompt
from assent.sampling import Completion, ModelGenerator, SamplingSettings, Texts, revise
from assent.sampling.revision import Answers

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "training"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "data"))
from chat_templates import CHATML
from small_run import save_small_model, small_model, small_tokenizer, write_jsonl


@dataclass
class Counting:
    """Answers the i-th time with so many words "a"; keeps what it was asked."""

    texts: Texts
    name: str = "counting"
    asked: list[list[str]] = field(default_factory=list)
    seeds: list[int] = field(default_factory=list)

    def generate(self, prompts, count, settings) -> list[Completion]:
        self.asked.append([self.texts.tokenizer.decode(p, skip_special_tokens=True) for p in prompts])
        self.seeds.append(settings.seed)
        a = self.texts.tokenizer.convert_tokens_to_ids("Ġa")
        ids = np.array([a] * len(self.asked) + [2], np.int32)
        return [Completion(i, j, ids, ids * 0.0, ids * 0.0, True) for i in range(len(prompts)) for j in range(count)]


def greedy(model, tokenizer, prompt: str, longest: int) -> str:
    """transformers' own decoding of one prompt."""
    ids = torch.tensor([tokenizer(prompt)["input_ids"]])
    with torch.no_grad():
        out = model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=longest)
    return tokenizer.decode(out[0, ids.shape[1] :], skip_special_tokens=True)


def test_greedy_revisions_are_those_of_transformers() -> None:
    model, tokenizer = small_model(), small_tokenizer()
    texts = Texts(tokenizer, model)
    prompts = ["a cat", "the dog sees", "fish"]
    settings = SamplingSettings(max_new_tokens=6, temperature=0)
    found = revise(ModelGenerator(model, texts.end), texts, prompts, 2, sampling=settings)
    before = [greedy(model, tokenizer, prompt, 6) for prompt in prompts]
    for stage in found:
        assert [own for (own,) in stage.contents] == before
        before = [greedy(model, tokenizer, revision_prompt(p, y), 6) for p, y in zip(prompts, before, strict=True)]
    assert len(found) == 3 and found[0].contents != found[1].contents


def test_each_stage_reads_the_one_before_and_draws_anew() -> None:
    texts = Texts(small_tokenizer())
    told = Counting(texts)
    found = revise(told, texts, ["the cat", "the dog"], 2, samples=2, sampling=SamplingSettings(seed=5))
    assert [stage.contents[1] for stage in found] == [(" a",) * 2, (" a a", " a a a"), (" a a a a", " a a a a a")]
    assert told.asked[0] == ["the cat", "the dog"] and all("the dog" in asked[1] for asked in told.asked)
    assert [asked[0].count(" a") - told.asked[1][0].count(" a") for asked in told.asked[1:]] == [0, 0, 1, 2]
    assert told.seeds[0] == 5 and len(set(told.seeds)) == 5  # five calls, five seeds
    assert revise(Counting(texts), texts, ["the cat"], 0) == [Answers(((" a",),), 0)]


def test_samples_repeat_with_the_seed_and_cut_answers_are_counted() -> None:
    model, tokenizer = small_model(), small_tokenizer()
    texts = Texts(tokenizer, model)
    run = lambda seed: revise(  # noqa: E731
        ModelGenerator(model, texts.end), texts, ["a cat"], 3, samples=3, sampling=SamplingSettings(4, seed=seed)
    )
    assert run(0) == run(0) != run(1)
    assert max(stage.cut for stage in run(0)) > 0 and all(stage.cut <= 3 for stage in run(0))


def test_messages_are_revised_in_the_next_turn() -> None:
    tokenizer = small_tokenizer()
    tokenizer.chat_template = CHATML
    texts = Texts(tokenizer)
    asked = [{"role": "user", "content": "a cat"}]
    told = Counting(texts)
    found = revise(told, texts, [asked], 1)
    assert found[1].contents == (([{"role": "assistant", "content": " a a"}],),)
    (ids,) = texts.prompt_ids([revision_prompt(asked, found[0].contents[0][0])])
    assert told.asked[1] == [tokenizer.decode(ids, skip_special_tokens=True)] and len(ids) > len(told.asked[0][0])


def test_what_cannot_be_revised_is_refused() -> None:
    texts = Texts(small_tokenizer())
    with pytest.raises(AssentError, match="revisions is -1; expected 0 or more"):
        revise(Counting(texts), texts, ["a cat"], -1)
    with pytest.raises(
        AssentError,
        match=r"revision 1 of prompt 1 reads \d+ tokens and may write 256 more, and the model reads at most 260",
    ):
        revise(Counting(texts), texts, ["a", "a the cat sees red fish"], 1, longest=260)


def test_win_rates_of_revised_completions(tmp_path, capsys) -> None:
    from transformers import LlamaConfig, LlamaForSequenceClassification

    from assent.cli import main
    from assent.evaluation.win_rate import win_rate
    from assent.judges import ScalarJudge

    place, rows = str(save_small_model(tmp_path / "a")), [{"prompt": p} for p in ("a", "the dog", "fish sees", "big")]
    prompts, sampling = str(write_jsonl(tmp_path / "p.jsonl", rows)), SamplingSettings(max_new_tokens=6, seed=1)
    length = ScalarJudge(lambda asked, told: [float(len(t)) for t in told], "length", temperature=0.0)
    model, tokenizer = small_model(), small_tokenizer()
    texts = Texts(tokenizer, model)
    stages = revise(ModelGenerator(model, texts.end), texts, [r["prompt"] for r in rows], 2, sampling=sampling)
    first, *_, last = ([len(own) for (own,) in stage.contents] for stage in stages)
    by_hand = np.mean([(b > a) + (b == a) / 2 for a, b in zip(first, last, strict=True)])
    found = win_rate(place, place, prompts, length, sampling=sampling, revisions=2)
    assert found.win_rate == by_hand and found.policy == f"{place}, revised 2 x" and found.length_gap != 0
    assert found.cut == (stages[-1].cut, stages[0].cut)

    config = LlamaConfig(vocab_size=60, hidden_size=16, intermediate_size=24, num_hidden_layers=1, num_attention_heads=2,
                         num_labels=1, pad_token_id=0)  # fmt: skip
    LlamaForSequenceClassification(config).save_pretrained(tmp_path / "rm")
    tokenizer.save_pretrained(tmp_path / "rm")
    ask = ["eval", "--model", place, "--data", prompts, "--against", place, "--max-new-tokens", "6", "--revisions", "1"]
    codes = {}
    for name, words in {
        "told": [*ask, "--judge", f"reward:{tmp_path / 'rm'}", "--json"],
        "no judge": ask,
        "rounds": [*ask[:5], "--rounds", "--revisions", "1", "--judge", f"reward:{tmp_path / 'rm'}"],
    }.items():
        with pytest.raises(SystemExit) as stopped:
            main(words)
        codes[name] = (stopped.value.code or 0, capsys.readouterr())
    assert codes["told"][0] == 0 and json.loads(codes["told"][1].out)["policy"] == f"{place}, revised 1 x"
    assert codes["no judge"][0] == 2 and "--revisions are for completions that a judge" in codes["no judge"][1].err
    assert codes["rounds"][0] == 2 and "not read with --rounds" in codes["rounds"][1].err
