"""Entanglement of a small language model's pairs."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "training"))
from small_run import scorer_for, small_model, token_pairs

from assent import parse
from assent.diagnostics.gradients import entanglement
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
