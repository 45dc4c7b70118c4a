"""Heat maps of tokens, and what they add up to."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "training"))
from small_run import exact_model, scorer_for, token_pairs

from assent import parse
from assent.diagnostics import gradients_tokens
from assent.diagnostics.gradients import entanglement
from assent.diagnostics.gradients_tokens import heat_map
from assent.errors import AssentError


def _pair(seed: int = 0) -> tuple[Any, Any]:
    rows = [row for row in token_pairs(8, seed) if row.chosen.mask.sum() > 2 and row.rejected.mask.sum() > 2]
    return scorer_for(exact_model(tied=False), rows[:1], parse("dpo()")), rows[0]


@pytest.mark.parametrize("form", ["exact", "last_layer"])
def test_cells_are_cosines_of_single_tokens(form: str) -> None:
    scorer, row = _pair()
    found = heat_map(scorer, row, form=form)
    assert found.chosen == tuple(row.chosen.ids[row.chosen.mask])
    if form == "last_layer":
        scorer.model.requires_grad_(False).lm_head.weight.requires_grad_(True)
    for i in (0, 1):
        for j in (0, 2):  # a pair whose sides count one token each
            sides = []
            for side, place in ((row.chosen, i), (row.rejected, j)):
                mask = side.mask & (side.mask.cumsum() == place + 1)
                sides.append(replace(side, mask=mask))
            alone = entanglement(
                scorer, [replace(row, chosen=sides[0], rejected=sides[1])], parse("dpo()"), form="loop"
            )
            assert found.cosine[i, j].item() == pytest.approx(alone.products.cosine.item(), abs=1e-10)


def test_blocks_of_any_size_give_the_same_map(monkeypatch: pytest.MonkeyPatch) -> None:
    scorer, row = _pair()
    whole = heat_map(scorer, row).cosine
    size = sum(p.numel() for p in scorer.model.parameters())
    monkeypatch.setattr(gradients_tokens, "ELEMENTS", 2 * size)
    torch.testing.assert_close(heat_map(scorer, row).cosine, whole, rtol=0.0, atol=1e-14)
    assert whole.shape == (row.chosen.mask.sum(), row.rejected.mask.sum())


def test_a_token_that_both_sides_share_has_cosine_1() -> None:
    # the first counted token, made the same on both sides after the same prompt
    scorer, row = _pair()
    ids = row.rejected.ids.copy()
    start = row.chosen.prompt_length
    ids[: start + 1] = row.chosen.ids[: start + 1]
    assert row.rejected.prompt_length == start
    found = heat_map(scorer, replace(row, rejected=replace(row.rejected, ids=ids)))
    assert found.cosine[0, 0].item() == pytest.approx(1.0, abs=1e-12)
    assert found.cosine.abs().max().item() <= 1 + 1e-12


def test_json_and_unknown_forms() -> None:
    scorer, row = _pair()
    record = json.loads(json.dumps(heat_map(scorer, row, form="last_layer").to_json(), allow_nan=False))
    assert record["schema"] == 1 and len(record["cosine"]) == len(record["chosen"])
    whole = entanglement(scorer, [row], parse("dpo()")).to_json()
    assert json.loads(json.dumps(whole, allow_nan=False))["pairs"][0]["case"] in ("ideal", "both down", "both up")
    with pytest.raises(AssentError, match="'vmap'; expected 'exact' or 'last_layer'"):
        heat_map(scorer, row, form="vmap")
