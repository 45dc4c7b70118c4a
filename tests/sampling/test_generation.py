"""Sampling: transformers' own greedy decoding token for token, stored log-probabilities, draws of their own."""

from __future__ import annotations

import itertools
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from assent import AssentError
from assent.sampling import ModelGenerator, SamplingSettings, Texts, geometric, linear
from assent.sampling.decoding import Decoder, shares_prompts
from assent.sampling.draws import choose, shaped, uniforms
from assent.scoring.causal_lm import CausalLMScorer
from assent.scoring.engine import prepare

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scoring"))
from families import FAMILIES, model_of
from tiny import ExampleRow

GREEDY = SamplingSettings(max_new_tokens=9, temperature=0.0)
END = frozenset({1})


def prompts(*lengths: int, seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.integers(3, 37, n).astype(np.int32) for n in lengths]


@pytest.mark.parametrize("family", FAMILIES)
def test_greedy_equals_transformers_token_for_token(family: str) -> None:
    config, changes = FAMILIES[family]
    model = model_of(config, **changes)
    given = prompts(7, 12, 3)
    assert shares_prompts(model)
    found = ModelGenerator(model, END).generate(given, 2, GREEDY)
    for made in found:
        ids = torch.tensor(given[made.prompt], dtype=torch.long)[None]
        with torch.no_grad():
            expected = model.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                do_sample=False,
                max_new_tokens=9,
                eos_token_id=1,
                pad_token_id=2,
            )
        assert made.ids.tolist() == expected[0, ids.shape[1] :].tolist()
        assert made.ended == (made.ids[-1] == 1)


@pytest.mark.parametrize("family", ["llama", "gemma2", "qwen2", "gpt2"])
def test_sharing_prompts_changes_nothing(family: str) -> None:
    config, changes = FAMILIES[family]
    model = model_of(config, **changes)
    lengths = (9, 9, 9) if family != "llama" else (6, 6, 6)
    decoders = [Decoder(model, prompts(*lengths), 3, 8, shared=shared) for shared in (True, False)]
    rng = np.random.default_rng(1)
    rows = 9
    with torch.no_grad():
        for step in range(7):
            one, other = (decoder.logits() for decoder in decoders)
            torch.testing.assert_close(one, other, rtol=0, atol=1e-6)
            kept = None
            if step in (2, 4):  # completions end here and there: prompts keep different numbers of them
                rows = {2: 5, 4: 3}[step]
                kept = torch.tensor(sorted(rng.choice(len(one), rows, replace=False).tolist()))
            token = torch.from_numpy(rng.integers(3, 37, rows))
            for decoder in decoders:
                decoder.step(token, kept)
    assert model.config._attn_implementation != "assent_decode", "the model is left as it was"


def test_models_whose_attention_is_not_known_decode_with_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    model, given = model_of("LlamaConfig"), prompts(5, 8, 5, 3)
    settings = SamplingSettings(max_new_tokens=6, seed=1)
    shared = ModelGenerator(model, END).generate(given, 2, settings)
    monkeypatch.setattr("assent.sampling.generation.shares_prompts", lambda model: False)
    monkeypatch.setattr("assent.sampling.decoding.shares_prompts", lambda model: False)
    copied = ModelGenerator(model, END).generate(given, 2, settings)
    assert [m.ids.tolist() for m in copied] == [m.ids.tolist() for m in shared]


@pytest.mark.parametrize("trees", [False, True])
def test_stored_log_probabilities_equal_scored_ones(trees: bool) -> None:
    model = model_of(*("LlamaConfig",))
    if trees:
        assert prepare(model) == ""
    given = prompts(5, 8)
    found = ModelGenerator(model, END).generate(
        given, 4, SamplingSettings(max_new_tokens=8, temperature=0.7, top_p=0.9)
    )
    rows = [ExampleRow(Texts.sequence(given[m.prompt], m)) for m in found]
    scores = CausalLMScorer(model, trees=trees).scores(rows)
    np.testing.assert_allclose(scores.tokens.logp.detach().numpy(), np.concatenate([m.logp for m in found]), atol=1e-9)
    assert all((m.drawn_logp > m.logp - 20).all() and not np.allclose(m.drawn_logp, m.logp) for m in found)
    plain = ModelGenerator(model, END).generate(given, 2, SamplingSettings(max_new_tokens=5))
    assert all((m.drawn_logp == m.logp).all() for m in plain)


def test_a_draw_depends_on_seed_prompt_and_number_alone() -> None:
    model, given = model_of("LlamaConfig"), prompts(5, 8, 6)
    settings = SamplingSettings(max_new_tokens=6, seed=3)
    generator = ModelGenerator(model, END)
    whole = generator.generate(given, 4, settings)
    alone = generator.generate(given[1:2], 4, settings)
    assert [m.ids.tolist() for m in whole[4:8]] == [m.ids.tolist() for m in alone]
    cut = ModelGenerator(model, END).generate(given, 4, SamplingSettings(max_new_tokens=6, seed=3, batch_size=3))
    assert [m.ids.tolist() for m in whole] == [m.ids.tolist() for m in cut]
    assert [(m.prompt, m.sample) for m in cut] == list(itertools.product(range(3), range(4)))
    other = generator.generate(given, 4, SamplingSettings(max_new_tokens=6, seed=4))
    assert [m.ids.tolist() for m in whole] != [m.ids.tolist() for m in other]


@pytest.mark.parametrize("kind", ["", "geometric", "linear"])
def test_frequencies_are_those_of_the_distribution(kind: str) -> None:
    mixing = {"": None, "geometric": geometric(0.3), "linear": linear(0.3)}[kind]
    model, other = model_of("LlamaConfig"), model_of("LlamaConfig", seed=5)
    (prompt,) = prompts(4)
    n = 3000
    generator = ModelGenerator(model, END, other=None if mixing is None else (other, mixing))
    made = generator.generate([prompt], n, SamplingSettings(max_new_tokens=1, batch_size=n))
    with torch.no_grad():
        ids = torch.tensor(prompt, dtype=torch.long)[None]
        p, q = (torch.log_softmax(m(input_ids=ids).logits[0, -1], -1) for m in (model, other))
    expected = {
        "": p, "geometric": torch.log_softmax(0.7 * p + 0.3 * q, -1), "linear": (0.7 * p.exp() + 0.3 * q.exp()).log(),
    }[kind]  # fmt: skip
    counts = Counter(int(m.ids[0]) for m in made)
    for token, log_share in enumerate(expected.tolist()):
        share = np.exp(log_share)
        assert abs(counts[token] / n - share) < 4.5 * np.sqrt(share * (1 - share) / n) + 1e-9
    first = made[0]
    assert first.drawn_logp[0] == pytest.approx(expected[first.ids[0]].item(), abs=1e-9)
    assert first.logp[0] == pytest.approx(p[first.ids[0]].item(), abs=1e-9)


def test_shapes_by_hand() -> None:
    p = torch.tensor([[0.5, 0.25, 0.15, 0.1]], dtype=torch.float64).log()
    half = shaped(p, SamplingSettings(temperature=0.5)).exp()[0].tolist()
    assert half == pytest.approx([x / 0.345 for x in (0.25, 0.0625, 0.0225, 0.01)])
    assert shaped(p, SamplingSettings(top_k=2)).exp()[0].tolist() == pytest.approx([2 / 3, 1 / 3, 0, 0])
    assert shaped(p, SamplingSettings(top_p=0.75)).exp()[0].tolist() == pytest.approx([2 / 3, 1 / 3, 0, 0])
    assert shaped(p, SamplingSettings(top_p=0.76)).exp()[0].tolist() == pytest.approx(
        [x / 0.9 for x in (0.5, 0.25, 0.15)] + [0]
    )
    assert shaped(p, SamplingSettings(temperature=0.0))[0].tolist() == [0.0] + [float("-inf")] * 3
    picks = choose(p.expand(5, 4), torch.tensor([0.0, 0.49, 0.51, 0.76, 0.999999]))
    assert picks.tolist() == [0, 0, 1, 2, 3]
    assert uniforms(np.array([1, 2]), 0, 3, 7).tolist() == uniforms(np.array([1, 2], np.int32), 0, 3, 7).tolist()


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"temperature": -1.0}, "temperature is -1.0"),
        ({"top_p": 0.0}, "top_p is 0.0"),
        ({"max_new_tokens": 0}, "max_new_tokens is 0"),
        ({"top_k": -1}, "top_k is -1"),
        ({"batch_size": 0}, "batch_size is 0"),
    ],
)
def test_settings_out_of_range_are_refused(wrong: dict, words: str) -> None:
    with pytest.raises(AssentError, match=words):
        SamplingSettings(**wrong)


def test_bad_requests_are_refused() -> None:
    generator = ModelGenerator(model_of("LlamaConfig"), END)
    with pytest.raises(AssentError, match="0 completions"):
        generator.generate(prompts(3), 0, GREEDY)
    with pytest.raises(AssentError, match="prompt 1 has no token to start from"):
        generator.generate([*prompts(3), np.array([], np.int32)], 1, GREEDY)
    with pytest.raises(AssentError, match=r"share of a mixture is 1\.5"):
        geometric(1.5)
