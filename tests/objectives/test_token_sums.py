"""Sums and places of tokens by hand, and what is said of missing values."""

from __future__ import annotations

import pytest
import torch

from assent import AssentError
from assent.objectives.token_sums import among_smallest, counted, place, token_values, tokens_of
from assent.scores import Tokens
from hand import pair
from hand_tokens import side


def test_places_in_any_order_and_with_gaps() -> None:
    row, index = torch.tensor([1, 0, 1, 0, 0, 3]), torch.tensor([4, 7, 0, 2, 9, 5])
    tokens = Tokens(row, index, torch.zeros(6))
    assert place(tokens).tolist() == [1, 1, 0, 0, 2, 0]
    assert counted(tokens, 5).tolist() == [3, 2, 0, 1, 0]
    order = torch.argsort(row * 10 + index)
    assert place(Tokens(row[order], index[order], torch.zeros(6))).tolist() == [0, 1, 2, 0, 1, 0]
    empty = torch.zeros(0, dtype=torch.int64)
    assert place(Tokens(empty, empty, torch.zeros(0))).tolist() == []


def test_the_smallest_draws_of_each_completion() -> None:
    row = torch.tensor([0, 0, 0, 1, 1])
    draw, at = torch.tensor([5, 2**32 - 1, 5, 9, 1]), torch.tensor([1, 2, 0, 0, 1])
    # completion 0: draws 5 at place 0, 5 at place 1, the largest last; completion 1: 1, 9
    assert among_smallest(draw, at, row, torch.tensor([1, 1])).tolist() == [False, False, True, False, True]
    assert among_smallest(draw, at, row, torch.tensor([2, 2])).tolist() == [True, False, True, True, True]


def test_what_is_missing_is_said_by_name() -> None:
    with pytest.raises(AssentError, match="carry no tokens"):
        tokens_of(pair(0.0, 0.0).chosen)
    with pytest.raises(AssentError, match=r"no 'guide' \(token columns there: reward\)"):
        token_values(side([1.0], reward=[[0.0]]), "guide")
    assert token_values(side([1.0], reward=[[3.0]]), "reward").tolist() == [3.0]


@pytest.mark.parametrize(
    "text, said",
    [
        ("tdpo1(beta=-1)", "tdpo1: beta is -1"), ("tdpo2(alpha=-0.5)", "tdpo2: alpha is -0.5"),
        ("ld_dpo(alpha=1.5)", r"ld_dpo: alpha is 1.5; expected a number in \[0, 1\]"), ("sampo(beta=0)", "sampo: beta is 0"),
        ("sampo(seed=-1)", "seed is -1"), ("tgdpo(source='guide')", "source is 'guide'; expected 'reward' or 'logp'"),
        ("sparsepo(lam_u=-1.0)", "sparsepo: lam_u is -1.0"), ("masked(dpo(), '')", "masked: tokens is ''"),
        ("masked(sft(per='batch_token'), 'mask')", "token mean"), ("flex_dpo(beta_pos=0)", "flex_dpo: beta_pos is 0"),
        ("gamma_dpo(gamma=-1)", "gamma_dpo: gamma is -1"), ("color(most=0.5)", "color: most is 0.5"),
        ("rationale(form='log')", "rationale: form is 'log'"), ("mapl_intra(source='x')", "mapl_intra: source is 'x'"),
        ("mapl_inter_reconstructed(reading='R1')", "reading is 'R1'; expected 'margins' or 'pairs'"),
        ("difficulty_weight(dpo(), scale=0)", "difficulty_weight: scale is 0"), ("dpo(ld_alpha=0.5)", "ld_dpo"),
        ("dpo(use_weighting=True)", "wpo"), ("gamma_dpo(alpha=0.5)", "gamma"), ("tdpo1(alpha=0.5)", "tdpo2"),
    ],
)  # fmt: skip
def test_values_out_of_range_and_other_tools_words(text: str, said: str) -> None:
    from assent import parse

    with pytest.raises(AssentError, match=said):
        parse(text)
