"""The tokenizer and the tiny Llama: round trip, offsets, size, log-probabilities."""

from __future__ import annotations

import pytest
import torch

from assent.worlds import language, models


def test_tokenizer_round_trip_and_offsets():
    tok = models.tokenizer()
    text = "write long garden note for sister hello fresh rose and lovely leaf love"
    coded = tok(text, return_offsets_mapping=True)
    assert coded["input_ids"][0] == tok.bos_token_id == 1 and tok.eos_token_id == 2 and tok.pad_token_id == 0
    assert tok.decode(coded["input_ids"], skip_special_tokens=True) == text
    words = [text[a:b] for a, b in coded["offset_mapping"][1:]]
    assert words == text.split()
    assert len(tok) == 4 + len(language.WORDS)
    assert tok("zebra")["input_ids"][1] == tok.unk_token_id == 3


def test_encode_pads_right_and_ends_every_row():
    tok = models.tokenizer()
    ids, prompt = models.encode(
        tok, [("write long garden note for uncle", "rose"), ("send short river note for uncle", "")]
    )
    assert prompt == 7 and ids.shape == (2, 9)
    assert ids[0, -1] == 2 and ids[1, -2:].tolist() == [2, 0]


def test_tiny_llama_is_small_seeded_and_leaves_the_random_state_alone():
    before = torch.random.get_rng_state()
    one, two, other = (models.tiny_llama(75, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(before, torch.random.get_rng_state())
    assert sum(p.numel() for p in one.parameters()) <= 200_000
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
    assert not torch.equal(one.lm_head.weight, other.lm_head.weight)


def test_token_logps_do_not_see_padding():
    tok = models.tokenizer()
    model = models.tiny_llama(len(tok), width=16, layers=1)
    rows = [("write long garden note for uncle", "rose and leaf"), ("send short river note for uncle", "boat")]
    ids, prompt = models.encode(tok, rows)
    together = models.token_logps(model, ids, prompt)[0].sum(-1)
    for row, value in zip(rows, together, strict=True):
        alone = models.token_logps(model, *models.encode(tok, [row]))[0].sum()
        assert float(alone.detach()) == pytest.approx(float(value.detach()), abs=1e-5)
    logits = model(input_ids=ids[1:, :]).logits[0].detach()
    by_hand = sum(float(torch.log_softmax(logits[t - 1], -1)[ids[1, t]]) for t in (7, 8))
    assert float(together[1].detach()) == pytest.approx(by_hand, abs=1e-5)
