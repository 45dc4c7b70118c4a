"""Scores: the swap is an involution, sums and selections keep every value in its place."""

from __future__ import annotations

import math
from dataclasses import fields

import pytest
import torch
from torch.testing import assert_close

from assent.errors import AssentError
from assent.scores import Column, GroupScores, Labels, PairScores, Scores, Tokens, select
from random_scores import pair_scores

S = torch.tensor


def _same(a: object, b: object) -> bool:
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(_same(a[k], b[k]) for k in a)
    if hasattr(a, "__dataclass_fields__"):
        return all(_same(getattr(a, f.name), getattr(b, f.name)) for f in fields(a))
    return a == b


def _full() -> PairScores:
    plain = pair_scores(3, target=True, weight=True, annotators=2)
    view = lambda x: Scores(S([x, x, x]))  # noqa: E731
    return PairScores(
        plain.chosen,
        plain.rejected,
        plain.weight,
        S([0.25, 1.0, 0.5], dtype=torch.float64),
        Labels(S([0, 1, 2]), S([0, 1, 0]), S([1.0, 0.25, 0.5])),
        logit=S([1.0, -2.0, 0.0]),
        views={"chosen@x": view(1.0), "rejected@x": view(2.0), "rejected|chosen": view(3.0), "rationale": view(4.0)},
        columns={
            "kept": Column(S([1.0, 2.0, 3.0])),
            "gap": Column(S([1.0, 2.0, 3.0]), "negate"),
            "p": Column(S([0.25, 0.5, 1.0]), "complement"),
            "left": Column(S([1.0, 2.0, 3.0]), exchange="right"),
            "right": Column(S([4.0, 5.0, 6.0]), exchange="left"),
        },
    )


def test_swap_is_an_involution_over_every_field() -> None:
    scores = _full()
    assert all(getattr(scores, f.name) is not None for f in fields(scores)), "the test leaves a field out"
    assert not _same(scores, scores.swapped())
    assert _same(scores, scores.swapped().swapped())


def test_swap_follows_each_rule() -> None:
    swapped = _full().swapped()
    assert torch.equal(swapped.target, S([0.75, 0.0, 0.5], dtype=torch.float64))
    assert torch.equal(swapped.labels.p, S([0.0, 0.75, 0.5]))
    assert torch.equal(swapped.logit, S([-1.0, 2.0, -0.0]))
    assert torch.equal(swapped.columns["kept"].value, S([1.0, 2.0, 3.0]))
    assert torch.equal(swapped.columns["gap"].value, S([-1.0, -2.0, -3.0]))
    assert torch.equal(swapped.columns["p"].value, S([0.75, 0.5, 0.0]))
    assert torch.equal(swapped.columns["right"].value, S([1.0, 2.0, 3.0]))
    assert swapped.views["chosen@x"].logp[0] == 2.0
    assert swapped.views["chosen|rejected"].logp[0] == 3.0
    assert swapped.views["rationale"].logp[0] == 4.0


def test_a_column_without_meaning_in_the_other_order_refuses_the_swap() -> None:
    scores = PairScores(Scores(S([1.0])), Scores(S([2.0])), columns={"rank": Column(S([1.0]), "refuse")})
    with pytest.raises(AssentError, match="'rank' has no meaning"):
        scores.swapped()


def test_missing_parts_are_named() -> None:
    scores = PairScores(Scores(S([1.0])), Scores(S([2.0])))
    with pytest.raises(AssentError, match="ref_logp"):
        _ = scores.log_ratio_gap
    with pytest.raises(AssentError, match="length"):
        scores.chosen.per_token(scores.chosen.logp)
    with pytest.raises(AssentError, match="'gap' is not in the data"):
        scores.column("gap")
    with pytest.raises(AssentError, match="1 chosen and 2 rejected"):
        PairScores(Scores(S([1.0])), Scores(S([2.0, 3.0])))


def test_select_keeps_tokens_with_their_completion() -> None:
    tokens = Tokens(S([0, 0, 1, 2, 2, 2]), S([0, 1, 0, 0, 1, 2]), S([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]))
    scores = Scores(
        S([3.0, 3.0, 15.0]), length=S([2.0, 1.0, 3.0]), tokens=tokens, columns={"label": S([1.0, 0.0, 1.0])}
    )
    picked = select(scores, S([2, 0]))
    assert picked.logp.tolist() == [15.0, 3.0]
    assert picked.tokens.row.tolist() == [0, 0, 0, 1, 1]
    assert picked.tokens.logp.tolist() == [4.0, 5.0, 6.0, 1.0, 2.0]
    assert_close(picked.tokens.sum_rows(picked.tokens.logp, 2), picked.logp)
    assert picked.columns["label"].tolist() == [1.0, 1.0]


def test_groups_sum_and_normalise_by_group():
    values = torch.tensor([0.0, math.log(3.0), -800.0, -800.0, 5.0], dtype=torch.float64, requires_grad=True)
    side = Scores(logp=torch.zeros(5, dtype=torch.float64))
    groups = GroupScores(side, group=torch.tensor([0, 0, 1, 1, 2]), score=torch.zeros(5, dtype=torch.float64))
    assert len(groups) == 3
    assert_close(groups.sum_groups(values).detach(), torch.tensor([math.log(3.0), -1600.0, 5.0]).double())
    total = groups.log_sum_exp(values)
    assert_close(total.detach(), torch.tensor([math.log(4.0), -800 + math.log(2.0), 5.0]).double())
    assert_close(groups.softmax(values).detach(), torch.tensor([0.25, 0.75, 0.5, 0.5, 1.0]).double())
    (gradient,) = torch.autograd.grad(total.sum(), values)
    assert_close(gradient, torch.tensor([0.25, 0.75, 0.5, 0.5, 1.0]).double())
    with pytest.raises(AssentError, match="5 completions, 4 groups"):
        GroupScores(side, group=torch.arange(4), score=torch.zeros(5))


@pytest.mark.parametrize("shift", [-1e4, 1e4])
def test_a_groups_softmax_keeps_its_digits_for_large_values(shift: float) -> None:
    values = torch.tensor([0.0, 0.5, -1.25, 0.75], dtype=torch.float32)  # exact beside +-10^4 in float32
    side = Scores(logp=torch.zeros(4))
    groups = GroupScores(side, group=torch.tensor([0, 0, 0, 1]), score=torch.zeros(4))
    exact = torch.cat([values[:3].double().log_softmax(0), torch.zeros(1, dtype=torch.float64)])
    assert_close(groups.log_softmax(values + shift).double(), exact, rtol=1e-6, atol=1e-7)
    assert_close(groups.softmax(values + shift).double(), exact.exp(), rtol=1e-6, atol=1e-7)
    total = torch.tensor([values[:3].double().logsumexp(0).item(), 0.75], dtype=torch.float64) + shift
    assert_close(groups.log_sum_exp((values + shift).double()), total, rtol=1e-15, atol=0)
