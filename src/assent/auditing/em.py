"""EM over a small preference model: posteriors of the labels, a held-out fit to them, reliabilities again.

LCPO's EM (arXiv:2509.24159, eqs. 4 to 6) with the preference model in place of the policy; every logit comes from a
fit that never saw its prompt (folds by prompt), so that memorised noise does not pass for reliability.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from assent.auditing.features import PairFeatures, Progress
from assent.auditing.preference_model import Boosted, Linear, choose_ridge, sigmoid
from assent.auditing.table import LabelTable
from assent.robust.estimation import Estimate, estimate

FOLDS = 5
ROUNDS = 3
RIDGES = (30.0, 100.0, 300.0, 1000.0, 3000.0)
MOST = 60_000
"""Pairs that the boosted trees are fitted to; more take longer and gain little."""


@dataclass(frozen=True)
class TextFit:
    """What the EM found.

    logit [P]: held-out, calibrated by the estimate's temperature, nats for the stored order.
    length_part [P]: the part of the linear model's logit that the length columns bring.  ridge: the one chosen.
    """

    logit: np.ndarray
    length_part: np.ndarray
    estimate: Estimate
    ridge: float
    folds: np.ndarray


def folds_of(cluster: np.ndarray, count: int, seed: int) -> np.ndarray:
    """A fold [P] for every pair such that pairs of one cluster share theirs; clusters are spread evenly at random."""
    clusters = int(cluster.max()) + 1
    order = np.random.default_rng(seed).permutation(clusters)
    return (order % count)[cluster]


def fit_text(
    table: LabelTable,
    features: PairFeatures,
    *,
    boosted: bool = True,
    rounds: int = ROUNDS,
    ridge: float | None = None,
    start: np.ndarray | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> TextFit:
    """Run the EM.  start: reliabilities [K] to begin with; ridge: given, or chosen on held-out labels."""
    labels = table.labels()
    x = features.difference
    folds = folds_of(table.cluster, min(FOLDS, int(table.cluster.max()) + 1), seed)
    weight = _pair_weight(table)
    target = _said(table)
    if ridge is None:
        ridge = choose_ridge(x, target, weight, folds, RIDGES)
    eta: np.ndarray | float = 0.9 if start is None else start
    found, linear = None, None
    for round_ in range(rounds):
        s, length_part, linear = _held_out(Linear(ridge), features, target, weight, folds, linear)
        found = estimate(torch.from_numpy(s), labels, len(table.names), start=torch.as_tensor(eta))
        eta, target = found.eta.numpy().clip(0.02, 0.98), found.posterior.numpy()
        if progress:
            progress("EM", (round_ + 1) / (rounds + boosted))
    assert found is not None
    logit, length_part = found.temperature * s, found.temperature * length_part
    if boosted:
        trees = _boosted(features, target, weight, folds, seed)
        logit = (logit + trees) / 2
        if progress:
            progress("EM", 1.0)
        found = estimate(torch.from_numpy(logit), labels, len(table.names), start=torch.as_tensor(eta))
        logit = found.temperature * logit
    return TextFit(logit, length_part, found, ridge, folds)


def _pair_weight(table: LabelTable) -> np.ndarray:
    """Mean row weight of each pair's labels [P]: a pair has one latent order, however often it was judged."""
    count = np.bincount(table.pair, minlength=table.pairs)
    weight = table.per_pair(table.weight) / np.maximum(count, 1)
    mean = weight.mean()
    return weight / mean if mean > 0 else weight


def _said(table: LabelTable) -> np.ndarray:
    """The weighted share of labels for the stored order [P]; 1/2 where none counts."""
    total = table.per_pair(table.weight)
    return np.where(total > 0, table.per_pair(table.weight * table.p) / np.where(total > 0, total, 1), 0.5)


def _held_out(model: Linear, features: PairFeatures, target, weight, folds, starts):
    x = features.difference
    logit, length_part = np.zeros(len(x)), np.zeros(len(x))
    coefficients = []
    for fold in range(int(folds.max()) + 1):
        test = folds == fold
        fit = ~test if not test.all() else test
        c = model.fit(x[fit], target[fit], weight[fit], None if starts is None else starts[fold])
        logit[test] = x[test] @ c
        length_part[test] = x[test][:, features.length] @ c[features.length]
        coefficients.append(c)
    return logit, length_part, coefficients


def _boosted(features: PairFeatures, target, weight, folds, seed: int) -> np.ndarray:
    logit = np.zeros(len(target))
    random = np.random.default_rng(seed)
    for fold in range(int(folds.max()) + 1):
        test, fit = np.flatnonzero(folds == fold), np.flatnonzero(folds != fold)
        if len(fit) > MOST:
            fit = random.choice(fit, MOST, replace=False)
        logit[test] = Boosted(seed=seed).fit_predict(features, target, weight, fit, test)
    return logit


__all__ = ["FOLDS", "ROUNDS", "TextFit", "fit_text", "folds_of", "sigmoid"]
