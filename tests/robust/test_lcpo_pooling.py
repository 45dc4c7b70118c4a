"""The pooling law of the contract, part 5, for LCPO: several labels of a pair, row weights and soft labels, by NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from assent.objectives import DPO, step_loss
from assent.scores import Labels
from lcpo_sheet import bayes, logistic_lcpo, one_each, pairs, sigmoid, softplus, state, tensor


# pooling, contract part 5
def logit(x):
    return np.log(x) - np.log1p(-x)


POOLED = Labels(
    pair=torch.tensor([0, 0, 0, 1, 1, 2, 3]),
    annotator=torch.tensor([0, 1, 2, 0, 2, 1, 2]),
    p=tensor([1.0, 0.0, 0.7, 0.5, 1.0, 0.25, 1.0]),
    weight=tensor([1.0, 2.0, 1.0, 1.0, 3.0, 1.0, 1.0]),
    gold=torch.tensor([False, False, False, False, False, False, True]),
)
ETA = (0.9, 0.7, 0.4)
MARGIN = np.array([0.3, -1.1, 0.8, -2.0])


def evidence(annotator, p):
    eta = ETA[annotator]
    return logit(eta * p + (1 - eta) * (1 - p))


def test_pooling_adds_the_evidence_of_a_pairs_labels():
    w = logistic_lcpo().posterior(pairs(MARGIN, POOLED), state(*ETA)).numpy()
    expected = sigmoid(
        MARGIN
        + np.array([
            evidence(0, 1.0) + evidence(1, 0.0) + evidence(2, 0.7),
            evidence(0, 0.5) + evidence(2, 1.0),  # a tie says nothing
            evidence(1, 0.25),
            logit(1 - 1e-6),  # gold
        ])
    )  # fmt: skip
    np.testing.assert_allclose(w, expected, rtol=1e-9)
    assert evidence(0, 0.5) == 0 and evidence(1, 0.0) == pytest.approx(-logit(0.7))
    heavier = Labels(POOLED.pair, POOLED.annotator, POOLED.p, POOLED.weight * 5, POOLED.gold)
    np.testing.assert_array_equal(logistic_lcpo().posterior(pairs(MARGIN, heavier), state(*ETA)).numpy(), w)


def test_without_pooling_each_label_has_its_own_truth():
    objective = logistic_lcpo(pool=False)
    scores = pairs(MARGIN, POOLED)
    each = sigmoid(MARGIN[[0, 0, 0, 1, 1, 2]] + np.array([evidence(k, p) for k, p in
                   ((0, 1.0), (1, 0.0), (2, 0.7), (0, 0.5), (2, 1.0), (1, 0.25))]))  # fmt: skip
    right = np.where(POOLED.p[:6] > 0.5, each, 1 - each)
    found = objective.label_posterior(scores, state(*ETA)).numpy()
    np.testing.assert_allclose(found[[0, 1, 2, 4, 5]], right[[0, 1, 2, 4, 5]], rtol=1e-9)
    assert np.isnan(found[3])  # a tie names no order
    assert found[6] > 0.999  # gold
    mean = (each[0] + 2 * each[1] + each[2]) / 4
    np.testing.assert_allclose(float(objective.posterior(scores, state(*ETA))[0]), mean, rtol=1e-9)


@pytest.mark.parametrize("pool", [True, False])
def test_m_step_is_the_weighted_share_of_right_labels(pool):
    labels = Labels(
        torch.tensor([0, 0, 1, 2, 3]), torch.tensor([0, 1, 0, 1, 0]), tensor([1.0, 0.0, 0.0, 1.0, 1.0]),
        weight=tensor([1.0, 1.0, 2.0, 1.0, 1.0]), gold=torch.tensor([False] * 4 + [True]),
    )  # fmt: skip
    objective = logistic_lcpo(rate=1.0, pool=pool)
    scores = pairs(MARGIN, labels)
    now = state(0.9, 0.7)
    w = objective.label_posterior(scores, now).numpy()  # P(label names the right order)
    after = objective.update(now, objective.sums(scores, now))["eta"].numpy()
    np.testing.assert_allclose(after, [(w[0] + 2 * w[2]) / 3, (w[1] + w[3]) / 2], rtol=1e-12)
    pooled = bayes(MARGIN[0], 0.9 * 0.3 / (0.9 * 0.3 + 0.1 * 0.7))
    alone = bayes(MARGIN[0], 0.9)
    np.testing.assert_allclose(w[0], pooled if pool else alone, rtol=1e-12)


def test_a_pair_counts_once():
    """Three agreeing labels weigh as one pair in LCPO's mean; every other objective sees three rows."""
    labels = Labels(torch.tensor([0, 0, 0, 1]), torch.tensor([0, 1, 2, 0]), tensor([1.0] * 4))
    scores = pairs([0.5, -1.0], labels, weight=tensor([3.0, 1.0]), target=tensor([1.0, 1.0]))
    now = state(0.9, 0.7, 0.6)
    rows = logistic_lcpo()(scores, now).numpy()
    found = float(step_loss(logistic_lcpo(), scores, now))
    np.testing.assert_allclose(found, rows.mean(), rtol=1e-12)
    plain = float(step_loss(DPO(beta=1.0), scores))
    np.testing.assert_allclose(plain, (3 * softplus(-0.5) + softplus(1.0)) / 4, rtol=1e-12)


def test_row_weights_repeat_rows_in_loss_and_counts():
    """Weight 2 on a pair's single label equals the pair twice, in the loss's mean and in the M-step."""
    once = Labels(torch.arange(2), torch.tensor([0, 0]), tensor([1.0, 1.0]), weight=tensor([2.0, 1.0]))
    weighted = pairs([0.5, -1.0], once, weight=tensor([2.0, 1.0]))
    repeated = pairs([0.5, 0.5, -1.0], one_each(3))
    now, objective = state(0.8), logistic_lcpo()
    a, b = (float(step_loss(objective, x, now)) for x in (weighted, repeated))
    np.testing.assert_allclose(a, b, rtol=1e-13)
    a, b = (objective.update(now, objective.sums(x, now))["eta"].numpy() for x in (weighted, repeated))
    np.testing.assert_allclose(a, b, rtol=1e-13)


def test_soft_labels_give_a_monotone_likelihood_and_ties_leave_reliabilities_alone():
    g = np.random.default_rng(5)
    count = 40
    labels = one_each(count, (np.arange(count) % 2).tolist(), g.choice([0.0, 0.2, 0.5, 0.8, 1.0], count))
    scores, now = pairs(g.normal(size=count) * 2, labels), state(0.6, 0.9)
    objective, before = logistic_lcpo(rate=1.0), np.inf
    for _ in range(50):
        nll = float(objective.marginal_nll(scores, now).sum())
        assert nll <= before + 1e-12
        before, now = nll, objective.update(now, objective.sums(scores, now))
    ties = one_each(3, p=[0.5] * 3)
    after = objective.update(state(0.8), objective.sums(pairs([1.0, -2.0, 0.3], ties), state(0.8)))["eta"]
    np.testing.assert_allclose(after.numpy(), 0.8, rtol=1e-12)
