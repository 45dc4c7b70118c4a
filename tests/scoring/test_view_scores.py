"""Scores of views: those of their sequences alone, zeros where a row has none, the same on trees and padded."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import torch
from tiny import Sequence, oracle, pair_rows, tiny_model

from assent.data.tokens import TokenView
from assent.objectives.base import Need
from assent.scoring.causal_lm import CausalLMScorer
from assent.scoring.engine import prepare
from assent.scoring.heads import build
from assent.scoring.reference import SecondModel, precompute

RATIONALE, REFERENCE = Need("view", "rationale"), Need("reference")
DEGREES = {
    *(Need("view", f"{side}@degraded", 3) for side in ("chosen", "rejected")),
    *(Need("head", f"degree_{side}", 3) for side in ("chosen", "rejected")),
}


@dataclass
class Viewed:
    """A pair of the scoring tests with views."""

    row: Any
    views: dict[str, TokenView] = field(default_factory=dict)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.row, name)


def viewed(name: str, columns: dict | None = None) -> list[Viewed]:
    """Four pairs; the view of each is the chosen side of the next, and the third has none."""
    rows = pair_rows(4, seed=2)
    view = lambda i: TokenView(rows[(i + 1) % 4].chosen, columns or {}, columns is None)  # noqa: E731
    return [Viewed(row, {} if i == 2 else {name: view(i)}) for i, row in enumerate(rows)]


@pytest.mark.parametrize("trees", [False, True])
def test_a_view_is_scored_as_its_sequence_alone(trees: bool) -> None:
    model, other = tiny_model("llama", torch.float64), tiny_model("llama", torch.float64)
    with torch.no_grad():
        other.lm_head.weight.mul_(0.7)
    if trees:
        assert prepare(model) == "" and prepare(other) == ""
    rows = viewed("rationale")
    found = CausalLMScorer(model, SecondModel(other), trees=trees).scores(rows, {RATIONALE, REFERENCE})
    view = found.views["rationale"]
    for i, row in enumerate(rows):
        if i == 2:
            assert view.logp[i] == view.ref_logp[i] == view.length[i] == 0
            continue
        expected = oracle(model, row.views["rationale"].sequence)
        assert view.logp[i].item() == pytest.approx(expected.sum().item(), abs=1e-10)
        assert view.length[i] == len(expected) == (view.tokens.row == i).sum()
        assert view.ref_logp[i].item() == pytest.approx(
            oracle(other, row.views["rationale"].sequence).sum().item(), abs=1e-10
        )
    plain = CausalLMScorer(model, SecondModel(other), trees=trees).scores(rows, {REFERENCE})
    torch.testing.assert_close(found.chosen.logp, plain.chosen.logp, rtol=0, atol=1e-10)
    assert plain.views == {}, "views cost nothing where nobody asks"
    known = precompute(other, rows)
    again = CausalLMScorer(model, known, trees=trees).scores(rows, {RATIONALE, REFERENCE})
    torch.testing.assert_close(again.views["rationale"].ref_logp, view.ref_logp, rtol=0, atol=1e-10)


def test_a_batch_without_any_view_has_zeros() -> None:
    model = tiny_model("llama", torch.float64)
    rows = [replace(row, views={}) for row in viewed("rationale")]
    view = CausalLMScorer(model).scores(rows, {RATIONALE}).views["rationale"]
    assert view.logp.tolist() == [0.0] * 4 and view.tokens.row.numel() == 0


@pytest.mark.parametrize("trees", [False, True])
def test_heads_grade_the_last_state_of_a_degraded_view(trees: bool) -> None:
    model = tiny_model("llama", torch.float64)
    if trees:
        assert prepare(model) == ""
    heads = build(DEGREES, model)
    assert [p.abs().max().item() for p in heads.parameters()] == [0.0] * 4, "heads start at 0: ln L"
    torch.manual_seed(0)
    for p in heads.parameters():
        torch.nn.init.normal_(p)
    rows = viewed("chosen@degraded", {"degree": 2.0})
    scorer = CausalLMScorer(model, trees=trees, heads=heads)
    view = scorer.scores(rows, DEGREES).views["chosen@degraded"]
    assert view.columns["degree_known"].tolist() == [1.0, 1.0, 0.0, 1.0]
    assert view.columns["degree"].tolist() == [2.0, 2.0, 0.0, 2.0] and view.logp.tolist() == [0.0] * 4
    sequence: Sequence = rows[0].views["chosen@degraded"].sequence
    ids = torch.tensor(sequence.ids, dtype=torch.long)[None]
    last = int(sequence.mask.nonzero()[0][-1])
    state = model.base_model(input_ids=ids).last_hidden_state[0, last]
    for side in ("chosen", "rejected"):
        expected = heads[f"degree_{side}"](state)
        torch.testing.assert_close(view.columns[f"degree_{side}"][0], expected, rtol=0, atol=1e-10)
    view.columns["degree_chosen"].sum().backward()
    assert model.base_model.embed_tokens.weight.grad.abs().max() > 0, "the policy's body learns too"
    blank = scorer.scores([replace(r, views={}) for r in rows], DEGREES).views["chosen@degraded"]
    assert blank.columns["degree_chosen"].shape == (4, 3) and blank.columns["degree_known"].sum() == 0


def test_a_learned_mask_reads_the_reference_alone() -> None:
    model = tiny_model("llama", torch.float64)
    reference = SecondModel(copy.deepcopy(model))
    needs = {REFERENCE, Need("mask", "mask"), Need("mask", "mask_u")}
    heads = build(needs, model)
    rows = pair_rows(3, seed=1)
    scorer = CausalLMScorer(model, reference, heads=heads)
    model.eval()
    start = scorer.scores(rows, needs).chosen.tokens
    assert start.mask.tolist() == [1.0] * len(start.mask) == start.columns["mask_u"].tolist(), "masks start at 1"
    torch.manual_seed(0)
    for p in heads["mask"].parameters():
        torch.nn.init.normal_(p)
    found = scorer.scores(rows, needs).chosen.tokens
    ids = torch.tensor(rows[0].chosen.ids, dtype=torch.long)[None]
    states = reference.model(input_ids=ids, output_hidden_states=True).hidden_states[1:]
    places = torch.tensor(rows[0].chosen.mask.nonzero()[0]) - 1
    expected = heads["mask"](torch.stack([s[0, places] for s in states]))
    torch.testing.assert_close(found.mask[: len(places)], expected, rtol=0, atol=1e-9)
    found.mask.sum().backward()
    assert all(p.grad is None for p in model.parameters()) and heads["mask"].bias.grad is not None
