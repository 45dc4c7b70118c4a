"""LCPO beyond the sheet's exact tests: pooling, soft labels, gold, EM's likelihood, state and weights.  Contract, part 5."""

from __future__ import annotations

import json
from dataclasses import replace
from math import exp, log
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

from assent import DPO, LCPO, SFT, Labels, PairScores, Scores, SimPO, parse
from assent.errors import AssentError
from assent.objectives import RunInfo
from assent.robust.reliability import evidence
from random_scores import pair_scores

F64 = torch.float64
S = lambda *x: torch.tensor(x, dtype=F64)  # noqa: E731


def margins(*s: float) -> PairScores:
    """Pairs whose DPO(beta=1) margin is s."""
    logit = S(*s)
    return PairScores(
        Scores(logit.clone().requires_grad_(), 0 * logit, 0 * logit + 1), Scores(0 * logit, 0 * logit, 0 * logit + 1)
    )


def labelled(s: list[float], labels: list[tuple[int, int, float]], **more: torch.Tensor) -> PairScores:
    pair, who, p = zip(*labels, strict=True)
    return replace(margins(*s), labels=Labels(torch.tensor(pair), torch.tensor(who), S(*p), **more))


def sigmoid(x: float) -> float:
    return 1 / (1 + exp(-x))


def logit(p: float) -> float:
    return log(p / (1 - p))


def test_labels_of_one_pair_pool_their_evidence() -> None:
    objective = LCPO(DPO(1.0), reliability={"a": 0.9, "b": 0.7, "c": 0.6})
    scores = labelled([0.5, -1.0], [(0, 0, 1.0), (0, 1, 0.0), (1, 2, 1.0), (0, 2, 1.0)])
    state = objective.init(RunInfo(("a", "b", "c")))
    first = sigmoid(0.5 + logit(0.9) - logit(0.7) + logit(0.6))
    second = sigmoid(-1.0 + logit(0.6))
    assert_close(objective.posterior(scores, state), S(first, second))
    assert_close(objective.label_posterior(scores, state), S(first, 1 - first, second, first))


def test_without_pooling_each_label_has_its_own_truth() -> None:
    objective = LCPO(DPO(1.0), reliability={"a": 0.9, "b": 0.7}, pool=False)
    scores = labelled([0.5], [(0, 0, 1.0), (0, 1, 0.0)])
    state = objective.init(RunInfo(("a", "b")))
    one, two = sigmoid(0.5 + logit(0.9)), sigmoid(0.5 - logit(0.7))
    assert_close(objective.posterior(scores, state), S((one + two) / 2))
    assert_close(objective.label_posterior(scores, state), S(one, 1 - two))
    # two labels on one pair train like two rows of one label each
    rows = labelled([0.5, 0.5], [(0, 0, 1.0), (1, 1, 0.0)])
    weights = objective.weights(replace(scores, weight=S(2.0)))
    assert_close((weights * objective(scores, state)).sum(), objective(rows, state).sum())


def test_a_soft_label_speaks_less_and_a_tie_says_nothing() -> None:
    assert_close(evidence(S(1.0, 0.5, 0.0, 0.8), S(0.9, 0.9, 0.9, 0.9)), S(logit(0.9), 0.0, -logit(0.9), logit(0.74)))
    objective = LCPO(DPO(1.0), reliability=0.9)
    scores = labelled([0.7], [(0, 0, 0.5)])
    assert_close(objective.posterior(scores), S(sigmoid(0.7)))
    assert objective.label_posterior(scores).isnan().all()
    objective(scores).sum().backward()
    assert_close(scores.chosen.logp.grad, S(0.0))


def test_ties_leave_the_reliability_where_it_is() -> None:
    objective = LCPO(DPO(1.0), start=0.8, rate=1.0)
    scores = labelled([0.7, -2.0], [(0, 0, 0.5), (1, 0, 0.5)])
    state = objective.init(RunInfo(("a",)))
    assert_close(objective.update(state, objective.sums(scores, state))["eta"], S(0.8))


def test_gold_labels_anchor_the_pair_and_do_not_grade_their_annotator() -> None:
    objective = LCPO(DPO(1.0), start=0.6, rate=1.0)
    scores = labelled([-3.0], [(0, 0, 1.0), (0, 1, 0.0)], gold=torch.tensor([True, False]))
    state = objective.init(RunInfo(("a", "b")))
    w = sigmoid(-3.0 + logit(1 - 1e-6) - logit(0.6))
    assert_close(objective.posterior(scores, state), S(w))
    sums = objective.sums(scores, state)
    assert_close(sums["count"], S(0.0, 1.0))
    assert_close(objective.update(state, sums)["eta"], S(0.6, 1 - w))


def test_a_pair_counts_once_and_weights_do_not_enter_the_evidence() -> None:
    objective = LCPO(DPO(1.0), reliability=0.9)
    scores = labelled([0.5, 0.2], [(0, 0, 1.0), (0, 0, 1.0), (0, 0, 1.0), (1, 0, 1.0)], weight=S(1.0, 1.0, 4.0, 2.0))
    scores = replace(scores, weight=S(6.0, 2.0))
    assert_close(objective.weights(scores), S(2.0, 2.0))
    assert_close(objective.posterior(scores)[0], torch.tensor(sigmoid(0.5 + 3 * logit(0.9)), dtype=F64))
    state = objective.init(RunInfo())
    w = objective.posterior(scores)
    expected = (6.0 * w[0] + 2.0 * w[1]).reshape(1)
    assert_close(objective.sums(scores, state)["right"], expected)


@pytest.mark.parametrize("seed", range(5))
def test_full_batch_em_never_lowers_the_marginal_likelihood(seed: int) -> None:
    """Soft labels, ties, several labels a pair: exact M-steps of the reliabilities and descent on eq. 5."""
    scores = pair_scores(40, seed=seed, annotators=4, scale=4.0)
    scores = replace(scores, labels=replace(scores.labels, weight=None))
    objective = LCPO(DPO(1.0), rate=1.0, start=0.7)
    state = objective.init(RunInfo(tuple("abcd")))
    logp = scores.chosen.logp.detach().requires_grad_()
    scores = replace(scores, chosen=replace(scores.chosen, logp=logp))
    last = float("inf")
    for _ in range(30):
        nll = objective.marginal_nll(scores, state).sum().item()
        assert nll <= last + 1e-10
        last = nll
        (gradient,) = torch.autograd.grad(objective(scores, state).sum(), logp)
        sums = objective.sums(scores, state)
        with torch.no_grad():
            logp -= 0.5 * gradient  # the loss of a pair is 1/4-smooth in its margin
        state = objective.update(state, sums)
    assert last < float("inf")


def test_the_gradient_is_that_of_the_marginal_likelihood() -> None:
    scores = pair_scores(6, annotators=3)
    objective, info = LCPO(DPO(1.0), start=0.8), RunInfo(("a", "b", "c"))
    state = objective.init(info)
    (em,) = torch.autograd.grad(objective(scores, state).sum(), scores.chosen.logp)
    (marginal,) = torch.autograd.grad(objective.marginal_nll(scores, state).sum(), scores.chosen.logp)
    assert_close(em, marginal, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    "base", ["dpo()", "ipo()", "ipo(per='token')", "simpo()", "cpo()", "simpo() + 0.1*sft()", "cdpo()"]
)
def test_the_induced_logit_is_antisymmetric_and_reliability_one_is_the_base(base: str) -> None:
    scores, inner = pair_scores(5), parse(base)
    objective = LCPO(inner, reliability=1.0, reading="mixture")
    assert_close(objective.logit(scores), -objective.logit(scores.swapped()), rtol=1e-10, atol=1e-12)
    assert_close(objective.logit(scores), inner(scores.swapped()) - inner(scores), rtol=1e-9, atol=1e-10)
    scores = pair_scores(20, scale=0.05)
    near = objective.logit(scores).abs() < 3  # a reliability of 1 is clamped to 1 - 1e-6, which 14 nats outweigh
    assert near.sum() >= 3
    assert_close(objective(scores)[near], inner(scores)[near], rtol=1e-4, atol=1e-4)


def test_a_term_inside_joins_the_logit_and_a_term_outside_stays_itself() -> None:
    scores = pair_scores(3)
    inside, outside = LCPO(SimPO() + 0.1 * SFT()), LCPO(SimPO()) + 0.1 * SFT()
    extra = 0.1 * (SFT()(scores.swapped()) - SFT()(scores))
    assert_close(inside.logit(scores), LCPO(SimPO()).logit(scores) + extra)
    assert_close(outside(scores), LCPO(SimPO())(scores) + 0.1 * SFT()(scores))
    state = outside.init(RunInfo(("a", "b")))
    assert list(state) == ["0.eta"] and state["0.eta"].tolist() == [0.9, 0.9]


def test_given_reliabilities_never_move_and_unknown_annotators_are_named() -> None:
    objective = LCPO(DPO(1.0), reliability={"anna": 0.95, "*": 0.7})
    state = objective.init(RunInfo(("ben", "anna")))
    assert state["eta"].tolist() == [0.7, 0.95]
    scores = labelled([1.0], [(0, 0, 1.0)])
    assert torch.equal(objective.update(state, objective.sums(scores, state))["eta"], state["eta"])
    with pytest.raises(AssentError, match="'ben'"):
        LCPO(DPO(), reliability={"anna": 0.9}).init(RunInfo(("anna", "ben")))


def test_reliabilities_of_an_audit_are_read(tmp_path: Path) -> None:
    found = {"schema": 1, "noise_rate": 0.25, "annotators": {"anna": {"labels": 3, "reliability": 0.9}}}
    (tmp_path / "audit.json").write_text(json.dumps(found))
    objective = LCPO(DPO(), reliability=f"audit:{tmp_path}")
    assert objective.init(RunInfo(("anna", "new")))["eta"].tolist() == [0.9, 0.75]
    assert parse(str(objective)) == objective
    with pytest.raises(AssentError, match="assent audit"):
        LCPO(DPO(), reliability=f"audit:{tmp_path / 'none'}").init(RunInfo())
    (tmp_path / "audit.json").write_text("{}")
    with pytest.raises(AssentError, match="not an audit's result"):
        objective.init(RunInfo())


def test_online_update_is_the_moving_average_of_the_step() -> None:
    objective = LCPO(DPO(1.0), start=0.9, rate=0.1)
    scores = labelled([0.5, -1.0, 2.0], [(0, 0, 1.0), (1, 0, 1.0), (2, 1, 1.0)])
    state = objective.init(RunInfo(("a", "b", "absent")))
    w = [sigmoid(s + logit(0.9)) for s in (0.5, -1.0, 2.0)]
    expected = S(0.9 * 0.9 + 0.1 * (w[0] + w[1]) / 2, 0.9 * 0.9 + 0.1 * w[2], 0.9)
    assert_close(objective.update(state, objective.sums(scores, state))["eta"], expected)
