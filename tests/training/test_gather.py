"""Scores put together and taken apart: offsets, optional fields, gradients by path."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from small_run import exact_model, token_pairs

from assent import Column, Labels
from assent.data.tokens import TokenGroup
from assent.scoring.causal_lm import CausalLMScorer
from assent.training.batches import rows_only
from assent.training.gather import concatenate, first_rows, leaves, on_ranks, pad_rows, with_leaves


@pytest.fixture(scope="module")
def parts():
    rows, scorer = token_pairs(6), CausalLMScorer(exact_model())
    with torch.no_grad():
        return [scorer.scores(rows[i : i + 2]) for i in (0, 2, 4)]


def test_indices_move_with_their_rows(parts) -> None:
    whole = concatenate(parts)
    assert len(whole) == 6 and whole.labels.pair.max().item() == 5
    for i, part in enumerate(parts):
        mine = (whole.labels.pair >= 2 * i) & (whole.labels.pair < 2 * i + 2)
        assert torch.equal(whole.labels.pair[mine] - 2 * i, part.labels.pair)
        tokens = (whole.chosen.tokens.row >= 2 * i) & (whole.chosen.tokens.row < 2 * i + 2)
        assert torch.equal(whole.chosen.tokens.logp[tokens], part.chosen.tokens.logp)
    assert concatenate(parts[:1]) is parts[0] and len(concatenate([None, parts[1]])) == 2


def test_label_fields_that_some_parts_leave_out_are_filled(parts) -> None:
    first, second = parts[0], parts[1]
    bare = replace(second, labels=replace(second.labels, weight=None, gold=None))
    labels = concatenate([first, bare]).labels
    assert labels.weight[len(first.labels) :].tolist() == [1.0] * len(second.labels)
    assert not labels.gold[len(first.labels) :].any()
    none = [replace(p, labels=Labels(p.labels.pair, p.labels.annotator, p.labels.p)) for p in (first, second)]
    assert concatenate(none).labels.weight is None


def test_leaves_are_what_may_carry_gradient_and_go_back_to_their_place(parts) -> None:
    scores = replace(parts[0], columns={"value": Column(torch.tensor([1.0, 2.0]), "negate")})
    found = leaves(scores)
    assert {"/chosen/logp", "/rejected/logp", "/chosen/tokens/logp", "/columns/value/value"} <= set(found)
    assert not [path for path in found if "length" in path or "weight" in path or "target" in path]
    again = with_leaves(scores, found)
    (again.chosen.logp.sum() * 2 + again.columns["value"].value[1]).backward()
    assert found["/chosen/logp"].grad.tolist() == [2.0, 2.0] and found["/columns/value/value"].grad.tolist() == [
        0.0,
        1.0,
    ]
    assert again.columns["value"].swap == "negate" and on_ranks(scores) == ([scores], 0)


def test_slopes_are_dealt_out_in_order_and_fillers_get_none() -> None:
    slopes, start = {"a": torch.tensor([1.0, 2.0, 3.0])}, {}
    first, _ = pad_rows(slopes, "a", torch.zeros(2), start)
    second, _ = pad_rows(slopes, "a", torch.zeros(2), start)
    other, _ = pad_rows(slopes, "b", torch.ones(2), start)
    assert (first.tolist(), second.tolist(), other.tolist()) == ([1.0, 2.0], [3.0, 0.0], [0.0, 0.0])


def test_groups_are_put_together_and_cut_again() -> None:
    rows = [
        TokenGroup((pair.chosen, pair.rejected, pair.chosen)[: 2 + i % 2], (1.0, 0.0, 0.5)[: 2 + i % 2], 1.0 + i, i)
        for i, pair in enumerate(token_pairs(5))
    ]
    scorer = CausalLMScorer(exact_model())
    whole = scorer.scores(rows)
    joined = concatenate([scorer.scores(rows[:2]), scorer.scores(rows[2:3]), scorer.scores(rows[3:])])
    assert joined.group.tolist() == whole.group.tolist() == [0, 0, 1, 1, 1, 2, 2, 3, 3, 3, 4, 4]
    assert joined.completions.tokens.row.tolist() == whole.completions.tokens.row.tolist()
    torch.testing.assert_close(joined.completions.logp, whole.completions.logp, rtol=0, atol=1e-10)
    assert joined.score.equal(whole.score) and joined.weight.equal(whole.weight)
    first = first_rows(whole, 2)
    assert len(first) == 2 and first.group.tolist() == [0, 0, 1, 1, 1] and first.weight.tolist() == [1.0, 2.0]
    assert set(leaves(whole)) == {"/completions/logp", "/completions/tokens/logp"}
    blank = rows_only(rows)
    assert blank.group.tolist() == whole.group.tolist()
    assert blank.completions.length.tolist() == whole.completions.length.tolist()
