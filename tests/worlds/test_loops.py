"""The plain loop and the embedded world it runs on: encodings, margins, batches, determinism."""

from __future__ import annotations

import json

import pytest
import torch

from assent.objectives import parse
from assent.worlds import crossfit, embedded, loops

SMALL = embedded.WorldConfig(
    pairs=160, tests=24, samples=24, held_out_prompts=24, width=16, corpus=400, tune_steps=25, tune_batch=32
)


@pytest.fixture(scope="module")
def world():
    return embedded.build(1, SMALL)


@pytest.fixture(scope="module")
def data(world):
    return loops.encode(world.pairs, world.tokenizer, world.reference, tuple(world.panel))


def test_a_seed_gives_one_world(world):
    again, other = embedded.build(1, SMALL), embedded.build(2, SMALL)
    assert again.pairs == world.pairs and torch.equal(again.right, world.right) and again.tests == world.tests
    assert other.pairs != world.pairs
    assert not {pair.prompt for pair in world.pairs} & set(world.held_out)
    assert {pair.prompt for pair in world.tests} <= set(world.held_out)


def test_truth_and_labels_fit_the_pairs(world):
    rewards = [
        (embedded.language.Reward()(p.prompt, p.chosen), embedded.language.Reward()(p.prompt, p.rejected))
        for p in world.pairs
    ]
    gap = torch.tensor([a - b for a, b in rewards], dtype=torch.float64)
    assert torch.allclose(world.gap, gap, atol=1e-12)
    assert all(p.chosen != p.rejected for p in world.pairs)
    for pair, right, clean in zip(world.pairs, world.right.tolist(), world.clean_pairs, strict=True):
        assert clean.chosen == (pair.chosen if right else pair.rejected)
    for pair in world.tests:
        assert embedded.language.Reward()(pair.prompt, pair.chosen) > embedded.language.Reward()(
            pair.prompt, pair.rejected
        )


def test_written_rows_are_the_labels(world, tmp_path):
    files = world.write(tmp_path)
    rows = [json.loads(line) for line in files["data"].read_text().splitlines()]
    assert len(rows) == sum(len(pair.labels) for pair in world.pairs) == 160 + 12 + 2 * 12
    first = world.pairs[0].labels[0]
    stored = (world.pairs[0].chosen, world.pairs[0].rejected)
    assert rows[0]["annotator"] == first.annotator
    assert (rows[0]["chosen"], rows[0]["rejected"]) == (stored if first.p == 1 else stored[::-1])
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model, tok = AutoModelForCausalLM.from_pretrained(files["model"]), AutoTokenizer.from_pretrained(files["model"])
    ids = tok(rows[0]["prompt"], return_tensors="pt")["input_ids"]
    assert torch.equal(ids, world.tokenizer(rows[0]["prompt"], return_tensors="pt")["input_ids"])
    assert torch.allclose(model(ids).logits, world.reference(ids).logits, atol=1e-6)


def test_encoded_labels_targets_and_margins(world, data):
    rows = torch.tensor([i for i, pair in enumerate(world.pairs) if len(pair.labels) > 1][:4] + [0])
    scores = loops.batch_scores(world.reference, data, rows)
    pairs = [world.pairs[i] for i in rows.tolist()]
    assert scores.target.tolist() == pytest.approx([pair.target for pair in pairs])
    assert scores.weight.tolist() == [pair.weight for pair in pairs]
    names = list(world.panel)
    assert [(names[k], p) for k, p in zip(scores.labels.annotator.tolist(), scores.labels.p.tolist(), strict=True)] == [
        (label.annotator, label.p) for pair in pairs for label in pair.labels
    ]
    assert scores.log_ratio_gap.abs().max() < 1e-5  # policy and reference are the same weights
    assert loops.margins(world.reference, data).abs().max() < 1e-5
    assert torch.equal(data.select(rows).ids, data.ids[:, rows])


def test_batches_cover_every_pair_once_an_epoch(data):
    config = loops.LoopConfig(epochs=2, batch=16)
    cut = list(loops.batches(data, config))
    assert len(cut) == config.steps(len(data)) == 20
    assert sorted(torch.cat(cut[:10]).tolist()) == sorted(torch.cat(cut[10:]).tolist()) == list(range(160))
    stops = config.stops(len(data))
    assert max(stops) == 20 and len(stops) <= config.evaluations


def test_training_lowers_the_loss_and_repeats_bit_for_bit(world, data):
    config = loops.LoopConfig(epochs=3, batch=32, rate=3e-3, evaluations=3)
    seen: list[int] = []
    run = loops.train(world.reference, data, parse("lcpo(dpo(beta=0.1))"), config, lambda policy: {"x": 1.0},
                      lambda step, steps: seen.append(step))  # fmt: skip
    assert seen == list(range(1, 16)) and run.curve[-1]["step"] == 15 and run.curve[0]["x"] == 1.0
    assert run.state["eta"].shape == (6,) and (run.state["eta"] != 0.9).all()
    margin = loops.margins(run.policy, data)
    assert ((margin > 0) == (torch.tensor([p.target for p in world.pairs]) > 0.5)).double().mean() > 0.6
    again = loops.train(world.reference, data, parse("lcpo(dpo(beta=0.1))"), config)
    assert all(torch.equal(a, b) for a, b in zip(run.policy.parameters(), again.policy.parameters(), strict=True))
    assert loops.margins(world.reference, data).abs().max() < 1e-5  # the start is left alone


def test_folds_split_prompts_and_evidence_is_pooled(world, data):
    fold = crossfit.folds(world.pairs, seed=3)
    sides = [{p.prompt for p, f in zip(world.pairs, fold.tolist(), strict=True) if f == side} for side in (0, 1)]
    assert not sides[0] & sides[1] and abs(len(sides[0]) - len(sides[1])) <= 1
    given = crossfit.label_evidence(data, world.panel)
    logit = {name: torch.logit(torch.tensor(eta, dtype=torch.float64)).item() for name, eta in world.panel.items()}
    for pair, value in zip(world.pairs, given.tolist(), strict=True):
        expected = sum(logit[label.annotator] * (1 if label.p == 1 else -1) for label in pair.labels)
        assert value == pytest.approx(expected, abs=1e-5)
