"""Reward models: scores against a loop over unpadded sequences, heads of their own, adapters, refusals."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from tiny import ExampleRow, Sequence, pair_rows, tiny_model

from assent import AssentError, parse
from assent.data.tokens import TokenView
from assent.objectives.base import Need
from assent.scoring.loading import from_memory, load_policy
from assent.scoring.lora import LoraSpec, merge_adapter
from assent.scoring.protocol import check_needs
from assent.scoring.reward import RewardScorer
from assent.scoring.reward_model import settle_padding

FAMILIES = ("llama", "qwen2", "gpt2")
TOKENIZER = SimpleNamespace(pad_token_id=2, eos_token_id=1)


def reward_model(family: str = "llama", dtype: torch.dtype = torch.float64) -> Any:
    """A random reward model on the body of a tiny causal one; its head is large, so that scores differ."""
    torch.manual_seed(1)
    model = from_memory(tiny_model(family, dtype), reward=True).model.eval()
    torch.nn.init.normal_(model.score.weight)
    return model


def alone(model: Any, one: Any) -> torch.Tensor:
    """The head on the state of the last token of one unpadded sequence."""
    ids = torch.tensor(one.ids[None].astype(np.int64))
    states = model.base_model(input_ids=ids, use_cache=False).last_hidden_state
    return model.score(states[0, -1])[0]


@dataclass(frozen=True)
class Group:
    sequences: tuple[Sequence, ...]
    scores: tuple[float, ...]
    weight: float = 1.0
    index: int = 0


@pytest.mark.parametrize("family", FAMILIES)
def test_scores_are_those_of_unpadded_sequences(family: str) -> None:
    model, rows = reward_model(family), pair_rows(6, holes=True)
    scores = RewardScorer(model, 2).scores(rows, {Need("reward"), Need("column", "margin")})
    for side in ("chosen", "rejected"):
        expected = torch.stack([alone(model, getattr(row, side)) for row in rows])
        found = getattr(scores, side)
        torch.testing.assert_close(found.column("reward"), expected, rtol=0, atol=1e-12)
        assert found.logp.isnan().all() and not found.logp.requires_grad and found.tokens is None
        assert found.length.tolist() == [int(getattr(row, side).mask.sum()) for row in rows]
    assert scores.column("margin").tolist() == [0.0, 0.5, 1.0, 1.5, 2.0, 2.5]
    assert scores.weight.tolist() == [1.0, 2.0] * 3 and scores.target.tolist() == [0.75] * 6
    assert len(scores.labels) == 9 and scores.chosen.column("reward").std() > 0.1


@pytest.mark.parametrize("family", FAMILIES)
def test_gradients_are_those_of_a_loop(family: str) -> None:
    model, rows, objective = reward_model(family), pair_rows(4), parse("bradley_terry()")
    weights = [model.score.weight, next(model.base_model.parameters())]
    found = torch.autograd.grad(objective(RewardScorer(model, 2).scores(rows)).sum(), weights)
    gap = torch.stack([alone(model, row.chosen) - alone(model, row.rejected) for row in rows])
    loss = 0.75 * torch.nn.functional.softplus(-gap) + 0.25 * torch.nn.functional.softplus(gap)
    for a, b in zip(found, torch.autograd.grad(loss.sum(), weights), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-11)
        assert a.abs().max() > 1e-3


def test_where_padding_is_eos_the_score_is_that_of_transformers() -> None:
    model = reward_model()
    pad, notes = settle_padding(model, SimpleNamespace(pad_token_id=1, eos_token_id=1), fresh=True)
    assert pad == 1 == model.config.pad_token_id and "before the EOS" in notes[0]
    rows = [replace(row, **{s: _ended(getattr(row, s)) for s in ("chosen", "rejected")}) for row in pair_rows(4)]
    found = RewardScorer(model, 1).scores(rows).chosen.column("reward")
    ids = [torch.tensor(row.chosen.ids[None].astype(np.int64)) for row in rows]
    expected = torch.cat([model(input_ids=i).logits[0] for i in ids])
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    before = torch.stack([alone(model, replace(row.chosen, ids=row.chosen.ids[:-1])) for row in rows])
    torch.testing.assert_close(found, before, rtol=0, atol=1e-12)


def _ended(one: Sequence) -> Sequence:
    return Sequence(np.append(one.ids, 1), one.prompt_length, np.append(one.mask, True))


def test_views_examples_and_groups_carry_rewards() -> None:
    model, rows = reward_model(), pair_rows(4)
    view = {"chosen@intra_better": TokenView(rows[1].rejected)}
    rows[2] = SimpleNamespace(**vars(rows[2]), views=view)
    rows = [row if hasattr(row, "views") else SimpleNamespace(**vars(row), views={}) for row in rows]
    scorer = RewardScorer(model, 2)
    found = scorer.scores(rows, {Need("view", "chosen@intra_better")}).views["chosen@intra_better"]
    expected = alone(model, rows[1].rejected)
    only = torch.tensor([0.0, 0.0, 1.0, 0.0], dtype=torch.float64)
    torch.testing.assert_close(found.column("reward"), expected * only, rtol=0, atol=1e-12)
    assert found.length.tolist() == [0, 0, int(rows[1].rejected.mask.sum()), 0]
    examples = scorer.scores([ExampleRow(row.chosen, 2.0, True) for row in rows])
    torch.testing.assert_close(examples.column("reward"), scorer.scores(rows).chosen.column("reward"))
    assert examples.column("label").tolist() == [1.0] * 4 and examples.column("weight").tolist() == [2.0] * 4
    groups = scorer.scores([Group((r.chosen, r.rejected), (1.0, 0.0)) for r in rows])
    assert groups.group.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    torch.testing.assert_close(groups.completions.column("reward")[1], alone(model, rows[0].rejected))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_causal_checkpoint_gets_a_fresh_head_and_a_reward_model_keeps_its_own(family: str, tmp_path: Path) -> None:
    tiny_model(family).save_pretrained(tmp_path / "causal")
    loaded = load_policy(tmp_path / "causal", reward=True)
    assert any("reward head is fresh: 16 random weights" in note for note in loaded.notes)
    body = tiny_model(family).base_model
    assert all(torch.equal(a, b) for a, b in zip(loaded.model.base_model.parameters(), body.parameters(), strict=True))
    settle_padding(loaded.model, TOKENIZER, fresh=True)
    loaded.model.save_pretrained(tmp_path / "reward")
    again = load_policy(tmp_path / "reward", reward=True)
    assert torch.equal(again.model.score.weight, loaded.model.score.weight)
    assert not any("fresh" in note for note in again.notes) and again.model.config.pad_token_id == 2
    with pytest.raises(AssentError, match="is a reward model, which gives no log-probabilities"):
        load_policy(tmp_path / "reward")


def test_an_adapter_trains_and_keeps_the_head(tmp_path: Path) -> None:
    tiny_model().save_pretrained(tmp_path / "base")
    loaded = load_policy(tmp_path / "base", lora=LoraSpec(rank=2), reward=True)
    trained = {name for name, p in loaded.model.named_parameters() if p.requires_grad}
    assert any("score.modules_to_save" in name for name in trained) and not any(
        "score" in n and "lora" in n for n in trained
    )
    with torch.no_grad():
        for name, parameter in loaded.model.named_parameters():
            if name in trained:
                parameter.normal_()
    settle_padding(loaded.model, TOKENIZER, fresh=True)
    rows = pair_rows(3)
    expected = RewardScorer(loaded.model.eval(), 2).scores(rows).chosen.column("reward")
    loaded.model.save_pretrained(tmp_path / "adapter")
    again = load_policy(tmp_path / "adapter", reward=True)
    assert again.stage == "continued" and not any("fresh" in note for note in again.notes)
    settle_padding(again.model, TOKENIZER, fresh=True)
    torch.testing.assert_close(RewardScorer(again.model.eval(), 2).scores(rows).chosen.column("reward"), expected)
    merged = merge_adapter(again.model)
    found = RewardScorer(merged.eval(), 2).scores(rows).chosen.column("reward")
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    with pytest.raises(AssentError, match=r"trains a policy and the adapter .* is that of a reward model \(SEQ_CLS\)"):
        load_policy(tmp_path / "base", adapter=tmp_path / "adapter")


def test_a_trained_head_keeps_its_padding_token() -> None:
    model, other = reward_model(), SimpleNamespace(pad_token_id=5, eos_token_id=1)
    pad, notes = settle_padding(model, other, fresh=False)
    assert pad == 2 == model.config.pad_token_id and "pads with token 2 and the tokenizer with 5" in notes[0]
    assert settle_padding(model, other, fresh=True) == (5, []) and model.config.pad_token_id == 5
    model.config.pad_token_id = None
    assert settle_padding(model, TOKENIZER, fresh=False) == (2, [])


def test_what_cannot_give_one_score_is_refused(tmp_path: Path) -> None:
    model = reward_model()
    with pytest.raises(AssentError, match="padded with token 0 and the reward model's pad_token_id is 2"):
        RewardScorer(model)
    model.config.num_labels = 3
    with pytest.raises(AssentError, match="has 3 outputs; expected one"):
        RewardScorer(model, 2)
    model.save_pretrained(tmp_path)
    with pytest.raises(AssentError, match="classifier with 3 outputs"):
        load_policy(tmp_path, reward=True)
    with pytest.raises(AssentError, match="mixture"):
        RewardScorer(reward_model(), 2).scores([*pair_rows(1), ExampleRow(pair_rows(1)[0].chosen)])
    with pytest.raises(
        AssentError, match=r"objective dpo.* needs reference; this scorer provides column, length, reward"
    ):
        check_needs(parse("dpo()"), RewardScorer(reward_model(), 2))
    with pytest.raises(AssentError, match="in memory is a reward model"):
        from_memory(reward_model())
