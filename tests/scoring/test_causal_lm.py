from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny import ARCHITECTURES, ExampleRow, Sequence, oracle, pair_rows, tiny_model

from assent.data.tokens import TokenGroup
from assent.errors import AssentError
from assent.objectives.base import Need
from assent.scoring.causal_lm import CausalLMScorer, starting_margin
from assent.scoring.engine import prepare
from assent.scoring.reference import SecondModel

REFERENCE = Need("reference")
EXACT = {"llama": 1e-10, "qwen2": 1e-10, "gpt2": 1e-10, "gemma2": 1e-6}
"""Gemma 2's attention takes its softmax in float32 even in a float64 model, and rounds by the padded width."""


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("holes", [False, True])
def test_log_probabilities_equal_an_unpadded_loop(architecture, holes):
    model = tiny_model(architecture, torch.float64)
    rows = pair_rows(6, seed=1, holes=holes)
    scores = CausalLMScorer(model).scores(rows)
    for side in ("chosen", "rejected"):
        got = getattr(scores, side)
        expected = [oracle(model, getattr(row, side)) for row in rows]
        torch.testing.assert_close(got.logp, torch.stack([e.sum() for e in expected]), rtol=0, atol=EXACT[architecture])
        torch.testing.assert_close(got.tokens.logp, torch.cat(expected), rtol=0, atol=EXACT[architecture])
        assert got.length.tolist() == [len(e) for e in expected]
        assert got.tokens.row.tolist() == [i for i, e in enumerate(expected) for _ in e]
        places = [np.flatnonzero(getattr(r, side).mask) - r.chosen.prompt_length for r in rows]
        assert got.tokens.index.tolist() == np.concatenate(places).tolist()


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_padding_and_order_change_nothing(architecture):
    scorer = CausalLMScorer(tiny_model(architecture, torch.float64))
    rows = pair_rows(5, seed=2)
    together = scorer.scores(rows)
    alone = [scorer.scores([row]) for row in rows]
    turned = scorer.scores(rows[::-1])
    other_pad = replace(scorer, pad_token_id=30).scores(rows)
    for side in ("chosen", "rejected"):
        logp = getattr(together, side).logp
        torch.testing.assert_close(
            logp, torch.cat([getattr(a, side).logp for a in alone]), rtol=0, atol=EXACT[architecture]
        )
        torch.testing.assert_close(logp, getattr(turned, side).logp.flip(0), rtol=0, atol=EXACT[architecture])
        torch.testing.assert_close(logp, getattr(other_pad, side).logp, rtol=0, atol=EXACT[architecture])


def test_gradient_equals_that_of_the_unpadded_loop():
    model = tiny_model("qwen2", torch.float64)
    rows = pair_rows(4, seed=3, holes=True)
    scores = CausalLMScorer(model).scores(rows)
    (scores.chosen.logp.sum() - 2 * scores.rejected.logp.sum()).backward()
    got = {n: p.grad.clone() for n, p in model.named_parameters()}
    model.zero_grad()
    total = 0.0
    for row in rows:
        for side, factor in (("chosen", 1.0), ("rejected", -2.0)):
            one = getattr(row, side)
            ids = torch.tensor(one.ids[None].astype(np.int64))
            log_probs = model(input_ids=ids).logits[0, :-1].log_softmax(-1)
            picked = log_probs.gather(1, ids[0, 1:, None]).squeeze(1)
            total = total + factor * picked[torch.tensor(one.mask[1:])].sum()
    total.backward()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(got[name], parameter.grad, rtol=0, atol=1e-9)
    assert sum(g.abs().sum() for g in got.values()) > 1


@pytest.mark.parametrize("architecture", ["llama", "gemma2"])
def test_half_precision_logits_are_summed_in_float32(architecture):
    model = tiny_model(architecture, torch.float64)
    rows = pair_rows(4, seed=4)
    scores = CausalLMScorer(copy.deepcopy(model).to(torch.bfloat16)).scores(rows)
    assert scores.chosen.logp.dtype == torch.float32
    expected = torch.stack([oracle(model, row.chosen).sum() for row in rows])
    torch.testing.assert_close(scores.chosen.logp.double(), expected, rtol=0.05, atol=0.5)
    scores.chosen.logp.sum().backward()


def test_half_precision_chunks_give_the_same_gradient(monkeypatch):
    model = tiny_model("llama").to(torch.bfloat16)
    rows = pair_rows(4, seed=5)
    grads = []
    for elements in (1 << 25, 5 * 37):
        monkeypatch.setattr("assent.scoring.forward.CHUNK_ELEMENTS", elements)
        model.zero_grad()
        scores = CausalLMScorer(model).scores(rows)
        scores.chosen.logp.sum().backward()
        grads.append((scores.chosen.logp.detach(), model.lm_head.weight.grad.clone()))
    torch.testing.assert_close(grads[0][0], grads[1][0], rtol=0, atol=1e-6)
    torch.testing.assert_close(grads[0][1], grads[1][1])


def test_entropy_squares_and_divergence_by_their_definitions():
    model, other = tiny_model("llama", torch.float64), tiny_model("llama", torch.float64, seed=9)
    rows = pair_rows(3, seed=6)
    needs = {REFERENCE, Need("entropy"), Need("sum_sq"), Need("kl_ref")}
    scores = CausalLMScorer(model, SecondModel(copy.deepcopy(other))).scores(rows, needs)
    got, expected = scores.chosen.tokens, []
    for row in rows:
        ids = torch.tensor(row.chosen.ids[None].astype(np.int64))
        with torch.no_grad():
            p, q = (m(input_ids=ids).logits[0].softmax(-1) for m in (model, other))
        for place in np.flatnonzero(row.chosen.mask):
            a, b = p[place - 1], q[place - 1]
            expected.append([-(a * a.log()).sum(), (a * a).sum(), (b * (b / a).log()).sum()])
    expected = torch.tensor(expected, dtype=torch.float64)
    torch.testing.assert_close(torch.stack([got.entropy, got.sum_sq, got.kl_ref], 1), expected, rtol=0, atol=1e-10)
    reference = torch.stack([oracle(other, row.chosen).sum() for row in rows])
    torch.testing.assert_close(scores.chosen.ref_logp, reference, rtol=0, atol=1e-10)
    assert got.kl_ref.requires_grad and not scores.chosen.ref_logp.requires_grad


def test_labels_weights_targets_and_columns_are_carried():
    rows = pair_rows(3, seed=7)
    scores = CausalLMScorer(tiny_model()).scores(rows, {Need("column", "margin")})
    assert scores.weight.tolist() == [1.0, 2.0, 1.0]
    assert scores.target.tolist() == [0.75] * 3
    assert scores.labels.pair.tolist() == [0, 1, 1, 2]
    assert scores.labels.annotator.tolist() == [label[0] for row in rows for label in row.labels]
    assert scores.labels.p.tolist() == [label[1] for row in rows for label in row.labels]
    assert scores.column("margin").tolist() == [0.0, 0.5, 1.0]
    assert scores.swapped().column("margin").tolist() == [0.0, -0.5, -1.0]
    assert CausalLMScorer(tiny_model()).scores(rows).columns == {}


def test_columns_of_a_side_change_places_and_others_belong_to_both_orders():
    rows = [replace(r, columns={"score_chosen": 3.0, "score_rejected": r.index, "age": 7}) for r in pair_rows(2)]
    scores = CausalLMScorer(tiny_model()).scores(rows, {Need("column", "score_chosen")})
    assert scores.swapped().column("score_chosen").tolist() == [0.0, 1.0]
    assert scores.swapped().column("score_rejected").tolist() == [3.0, 3.0]
    scores = CausalLMScorer(tiny_model()).scores(rows, {Need("column", "age")})
    assert scores.swapped().column("age").tolist() == [7.0, 7.0]  # weighted(..., column="age") is the same for both


def test_a_missing_column_names_its_row():
    rows = pair_rows(2)
    rows[1] = replace(rows[1], columns={})
    with pytest.raises(AssentError, match="row 1 has no number in column 'margin'"):
        CausalLMScorer(tiny_model()).scores(rows, {Need("column", "margin")})


def test_single_completions_give_scores_with_weight_and_label():
    model = tiny_model(dtype=torch.float64)
    rows = [ExampleRow(r.chosen, weight=i + 1.0, label=bool(i % 2)) for i, r in enumerate(pair_rows(3))]
    scores = CausalLMScorer(model).scores(rows)
    expected = torch.stack([oracle(model, r.sequence).sum() for r in rows])
    torch.testing.assert_close(scores.logp, expected, rtol=0, atol=1e-10)
    assert scores.columns["weight"].tolist() == [1.0, 2.0, 3.0]
    assert scores.columns["label"].tolist() == [0.0, 1.0, 0.0]


def test_the_start_has_margin_zero_and_another_reference_has_not():
    model, rows = tiny_model(), pair_rows(9)
    assert starting_margin(CausalLMScorer(model, SecondModel(copy.deepcopy(model))), rows, batch_size=4) <= 1e-6
    other = SecondModel(tiny_model(seed=5))
    assert starting_margin(CausalLMScorer(model, other), rows) > 0.1
    model.train()
    starting_margin(CausalLMScorer(model, other), rows[:1])
    assert all(module.training for module in model.modules())


def test_the_reference_is_only_asked_when_needed():
    class Refusing:
        name, has_logits = "refuses", False

        def logp(self, *_):
            raise RuntimeError("asked")

    scorer = CausalLMScorer(tiny_model(), Refusing())
    assert scorer.scores(pair_rows(2), frozenset()).chosen.ref_logp is None
    with pytest.raises(RuntimeError, match="asked"):
        scorer.scores(pair_rows(2))


def test_what_cannot_be_scored_is_refused():
    scorer, row = CausalLMScorer(tiny_model()), pair_rows(1)[0]
    with pytest.raises(AssentError, match="no rows"):
        scorer.scores([])
    with pytest.raises(AssentError, match="mixture"):
        scorer.scores([row, ExampleRow(row.chosen)])
    with pytest.raises(AssentError, match="this scorer has none"):
        scorer.scores([row], {REFERENCE})
    ids = np.array([4, 5], dtype=np.int32)
    for mask, words in (([True, True], "first token counted"), ([False, False], "no counted completion token")):
        with pytest.raises(AssentError, match=words):
            scorer.scores([ExampleRow(Sequence(ids, 0, np.array(mask)))])


def test_groups_keep_their_order_and_are_one_tree_each():
    model, pairs = tiny_model("llama", torch.float64), pair_rows(3)
    rows = [TokenGroup((r.chosen, r.rejected, r.chosen), (1.0, 0.0, 0.5), 2.0 + i, i) for i, r in enumerate(pairs)]
    expected = CausalLMScorer(model).scores(pairs)
    padded = CausalLMScorer(model).scores(rows)
    assert prepare(model) == ""
    packed = CausalLMScorer(model, trees=True).scores(rows)
    for scores in (padded, packed):
        by_group = scores.completions.logp.reshape(3, 3)
        torch.testing.assert_close(by_group[:, 0], expected.chosen.logp, rtol=0, atol=1e-12)
        torch.testing.assert_close(by_group[:, 1], expected.rejected.logp, rtol=0, atol=1e-12)
        assert by_group[:, 2].equal(by_group[:, 0])
        assert scores.group.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
        assert scores.score.tolist() == [1.0, 0.0, 0.5] * 3 and scores.weight.tolist() == [2.0, 3.0, 4.0]
