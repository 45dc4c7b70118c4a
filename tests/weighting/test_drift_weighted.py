"""Sem-DPO's weight by hand, and the lemma on what a weight does to the optimum."""

from __future__ import annotations

from math import exp, log

import pytest
import torch
from torch.testing import assert_close

from assent import DPO, AssentError, Column, DriftWeighted, PairScores, Scores, parse
from assent.objectives import step_loss
from assent.weighting.drift_weighted import cosine_distance

F64 = torch.float64


def at(chosen: float, rejected: float, margin: float = 0.0, target: float | None = None) -> PairScores:
    """One pair at this log-ratio gap with the distances of both sides."""
    number = lambda x: torch.tensor([x], dtype=F64)  # noqa: E731
    return PairScores(
        Scores(number(margin).requires_grad_(), number(0.0)),
        Scores(number(0.0), number(0.0)),
        target=None if target is None else number(target),
        columns={
            "distance_chosen": Column(number(chosen), exchange="distance_rejected"),
            "distance_rejected": Column(number(rejected), exchange="distance_chosen"),
        },
    )


def test_golden_values() -> None:
    # alpha 2, distance .5: e^-1 ln 2 at policy = reference; the swapped order reads the other side's distance
    objective = DriftWeighted(DPO(), alpha=2.0)
    assert objective(at(0.5, 1.5)).item() == pytest.approx(exp(-1) * log(2), abs=1e-12)
    assert objective(at(0.5, 1.5).swapped()).item() == pytest.approx(exp(-3) * log(2), abs=1e-12)
    assert objective(at(0.0, 2.0)).item() == pytest.approx(log(2), abs=1e-12)


def test_distances() -> None:
    one = torch.tensor([[1.0, 0.0], [1.0, 0.0], [3.0, 4.0]], dtype=F64)
    other = torch.tensor([[2.0, 0.0], [-5.0, 0.0], [4.0, 3.0]], dtype=F64)
    assert cosine_distance(one, other).tolist() == pytest.approx([0.0, 2.0, 1 - 24 / 25], abs=1e-12)
    assert_close(cosine_distance(7 * one, other), cosine_distance(one, other))
    half = torch.randn(50, 8, generator=torch.Generator().manual_seed(0)).bfloat16()
    assert (cosine_distance(half, half) >= 0).all() and cosine_distance(half, half).dtype == torch.float32


def test_the_optimum_is_that_of_a_reward_less_drift() -> None:
    """Sheet, identity 6: with both orders seen, s = logit P - alpha (d_w - d_l); a symmetric weight moves nothing."""
    p, alpha, own, other = 0.7, 0.8, 0.9, 0.2
    best = log(p / (1 - p)) - alpha * (own - other)
    scores = at(own, other, margin=best, target=p)
    slope = torch.autograd.grad(step_loss(DriftWeighted(DPO(1.0), alpha), scores), scores.chosen.logp)[0]
    assert slope.item() == pytest.approx(0.0, abs=1e-12)
    scores = at(own, own, margin=log(p / (1 - p)), target=p)
    slope = torch.autograd.grad(step_loss(DriftWeighted(DPO(1.0), alpha), scores), scores.chosen.logp)[0]
    assert slope.item() == pytest.approx(0.0, abs=1e-12)


def test_its_text_and_bad_input() -> None:
    assert str(parse("sem_dpo(beta=0.2, alpha=3.0)")) == (
        "drift_weighted(dpo(beta=0.2), alpha=3.0, column='distance_chosen')"
    )
    for field, wrong in (("alpha", -1.0), ("column", "")):
        with pytest.raises(AssentError, match=f"drift_weighted: {field}"):
            DriftWeighted(DPO(), **{field: wrong})
    with pytest.raises(AssentError, match="'distance_chosen' is not in the data"):
        parse("sem_dpo()")(PairScores(at(0.0, 0.0).chosen, at(0.0, 0.0).rejected))
