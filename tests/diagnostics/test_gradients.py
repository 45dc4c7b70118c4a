"""Entanglement of a small language model's pairs."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "training"))
from small_run import scorer_for, small_model, token_pairs

from assent import parse
from assent.diagnostics.entanglement import PairGradients
from assent.diagnostics.gradients import Entanglement, entanglement
from assent.errors import AssentError


def test_the_loop_is_autograd_over_all_parameters() -> None:
    model, rows, dpo = small_model(), token_pairs(3), parse("dpo(beta=0.2)")
    scorer = scorer_for(model, rows, dpo)
    found = entanglement(scorer, rows, dpo, form="loop")
    for i, row in enumerate(rows):
        sides = []
        for side in (row.chosen, row.rejected):
            ids = torch.as_tensor(side.ids)[None].long()
            logp = model(input_ids=ids).logits[0, :-1].log_softmax(-1).gather(1, ids[0, 1:, None]).squeeze(1)
            slopes = torch.autograd.grad(logp[torch.as_tensor(side.mask)[1:]].sum(), list(model.parameters()))
            sides.append(torch.cat([s.flatten().double() for s in slopes]))
        assert found.products.inner[i].item() == pytest.approx((sides[0] @ sides[1]).item(), rel=1e-4)
        assert found.products.chosen_sq[i].item() == pytest.approx((sides[0] @ sides[0]).item(), rel=1e-4)
    # policy and reference are the same: beta / 2, less where the label is soft
    assert found.d_w.tolist() == pytest.approx([0.1 * (2 * row.target - 1) for row in rows], rel=1e-5)
    assert found.summary()["pairs"] == 3.0


def test_what_it_cannot_take_is_refused_in_words() -> None:
    model, rows, dpo = small_model(), token_pairs(2), parse("dpo()")
    scorer = scorer_for(model, rows, dpo)
    with pytest.raises(AssentError, match="'quick'; expected one of"):
        entanglement(scorer, rows, dpo, form="quick")
    with pytest.raises(AssentError, match="not all pairs"):
        entanglement(scorer, [rows[0].chosen], dpo)
    with pytest.raises(AssentError, match="limit of rows is 0"):
        entanglement(scorer, rows, dpo, limit=0)
    with pytest.raises(AssentError, match="no gradients"):
        entanglement(object(), rows, dpo)
    with pytest.raises(AssentError, match="no parameter"):
        entanglement(scorer.on(model.requires_grad_(False)), rows, dpo)


def test_a_model_ready_for_trees_gives_the_same() -> None:
    from assent.scoring.engine import prepare_all

    model, rows, dpo = small_model(), token_pairs(3), parse("dpo()")
    scorer = scorer_for(model, rows, dpo)
    plain = entanglement(scorer, rows, dpo, form="loop")
    assert prepare_all(model, scorer.reference.model) == ""
    for form in ("exact", "vmap", "loop"):
        packed = entanglement(replace(scorer, trees=True), rows, dpo, form=form)
        torch.testing.assert_close(packed.products.inner, plain.products.inner, rtol=1e-5, atol=1e-3)
        torch.testing.assert_close(packed.d_w, plain.d_w, rtol=1e-5, atol=0.0)


def test_a_limit_takes_rows_evenly_spaced() -> None:
    model, rows, dpo = small_model(), token_pairs(7), parse("dpo()")
    scorer = scorer_for(model, rows, dpo)
    found, whole = (entanglement(scorer, rows, dpo, limit=limit) for limit in (3, None))
    assert found.index == (0, 2, 4)
    torch.testing.assert_close(found.products.inner, whole.products.inner[[0, 2, 4]], rtol=1e-5, atol=1e-3)
    assert [pair["index"] for pair in found.to_json()["pairs"]] == [0, 2, 4]


def test_the_summary_by_hand() -> None:
    # <g_w, g_l>, |g_w|^2, |g_l|^2 of 6, 9, 16 and 8, 4, 25, weights 1 and 2 of both sides: changes (3, -10), (-8, -34)
    columns = (torch.tensor(x, dtype=torch.float64) for x in ((6, 8), (9, 4), (16, 25)))
    weights = torch.tensor([1.0, 2.0], dtype=torch.float64)
    found = Entanglement(PairGradients(*columns), weights, weights, (0, 1), "loop").summary()
    assert found == pytest.approx({
        "cosine": (0.5 + 0.8) / 2, "norm_ratio": (4 / 3 * 5 / 2) ** 0.5, "share_ideal": 0.5, "share_both_down": 0.5,
        "share_both_up": 0.0, "share_reversed": 0.0, "share_still": 0.0, "predicted_chosen": -2.5,
        "predicted_rejected": -22.0, "pairs": 2.0,
    })  # fmt: skip


def test_a_model_in_shards_is_refused() -> None:
    model, rows, dpo = small_model(), token_pairs(1), parse("dpo()")
    scorer = scorer_for(model, rows, dpo)
    next(model.parameters()).ds_id = 0  # as ZeRO marks its parameters
    with pytest.raises(AssentError, match="lies in shards"):
        entanglement(scorer, rows, dpo)
