"""EM over a small preference model: posteriors of the labels, a fit to them, reliabilities again.

LCPO's EM (arXiv:2509.24159, eqs. 4 to 6) with a small preference model in place of the policy.  It runs once for each
fold of the prompts, on the other folds alone, so that no label has touched the logit of its own pair, not even through
the posteriors of its neighbours; memorised noise would pass for reliability.  The folds' own estimates are delete-one
replicates: their spread is the uncertainty of labels and fitted logits together.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from assent.auditing.features import PairFeatures, Progress
from assent.auditing.preference_model import Linear
from assent.auditing.table import LabelTable
from assent.robust.estimation import Estimate, estimate

FOLDS = 10
ROUNDS = 3
RIDGES = (30.0, 100.0, 300.0)
MOST = 60_000
"""Pairs that the model is fitted to; a few hundred coefficients need no more."""


@dataclass(frozen=True)
class TextFit:
    """What the EM found.

    logit [P]: held-out, calibrated by the estimate's temperature, nats for the stored order.
    length_part [P]: the part of it that the length columns bring.  ridge: the one chosen on held-out labels.
    eta_error [K], noise_error: jackknife standard errors, the fit's uncertainty included; fitted: pairs fitted to.
    """

    logit: np.ndarray
    length_part: np.ndarray
    estimate: Estimate
    ridge: float
    eta_error: np.ndarray
    noise_error: float
    replicates: int
    fitted: int


def folds_of(cluster: np.ndarray, count: int, seed: int) -> np.ndarray:
    """A fold [P] for every pair such that pairs of one cluster share theirs; clusters are spread evenly at random."""
    clusters = int(cluster.max()) + 1
    order = np.random.default_rng(seed).permutation(clusters)
    return (order % count)[cluster]


def fit_text(
    table: LabelTable,
    features: PairFeatures,
    *,
    rounds: int = ROUNDS,
    ridge: float | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> TextFit:
    """Run the EM on every fold's complement.  ridge: given, or chosen by the held-out likelihood of the labels."""
    x, names = features.difference, len(table.names)
    count = min(FOLDS, int(table.cluster.max()) + 1)
    folds = folds_of(table.cluster, count, seed)
    used = _used(table, seed)
    chosen = _choose(table, x, folds, used) if ridge is None else ridge
    logit, length_part = np.zeros(table.pairs), np.zeros(table.pairs)
    etas, noises = [], []
    for fold in range(count):
        test = np.flatnonzero(folds == fold)
        c, found = fit_model(table, x, used & (folds != fold), chosen, rounds)
        logit[test] = x[test] @ c
        length_part[test] = x[test][:, features.length] @ c[features.length]
        etas.append(found.eta.numpy())
        noises.append(found.noise_rate)
        if progress:
            progress("fitting the preference model", (fold + 1) / count)
    start = torch.as_tensor(np.mean(etas, axis=0)).clamp(0.02, 0.98)
    found = estimate(torch.from_numpy(logit), table.labels(), names, start=start)
    scale = used.sum() / table.pairs
    return TextFit(
        logit=found.temperature * logit,
        length_part=found.temperature * length_part,
        estimate=found,
        ridge=chosen,
        eta_error=_jackknife(np.array(etas)) * np.sqrt(scale),
        noise_error=float(_jackknife(np.array(noises)) * np.sqrt(scale)),
        replicates=count,
        fitted=int(used.sum()),
    )


def fit_model(
    table: LabelTable, x: np.ndarray, train: np.ndarray, ridge: float, rounds: int
) -> tuple[np.ndarray, Estimate]:
    """Coefficients [D] and the reliabilities of their EM on the pairs marked in ``train`` [P].

    The first fit is to the labels themselves, whose logits are too small by the noise: there a temperature is fitted.
    """
    part, own = table.kept(train), x[train]
    labels, weight, target = part.labels(), _pair_weight(part), _said(part)
    eta: torch.Tensor | float = 0.9
    c = None
    for round_ in range(rounds):
        c = Linear(ridge).fit(own, target, weight, c)
        s = torch.from_numpy((own @ c).astype(np.float64))
        temperature = "fit" if round_ == 0 else 1.0
        found = estimate(s, labels, len(table.names), start=eta, temperature=temperature, max_iter=50, tol=1e-6)
        if round_ == 0:
            c = c * min(found.temperature, 5.0)
        eta, target = found.eta.clamp(0.02, 0.98), found.posterior.numpy()
    assert c is not None
    return c, found


def _choose(table: LabelTable, x: np.ndarray, folds: np.ndarray, used: np.ndarray) -> float:
    """The ridge under which the labels of a held-out fifth of the prompts are likeliest, reliabilities refitted."""
    held = folds < max(1, int(folds.max() + 1) // 5)
    test = table.kept(held)
    values = []
    for ridge in RIDGES:
        c, fitted = fit_model(table, x, used & ~held, ridge, rounds=2)
        s = torch.from_numpy((x[held] @ c).astype(np.float64))
        start = fitted.eta.clamp(0.02, 0.98)
        values.append(estimate(s, test.labels(), len(table.names), start=start).log_likelihood)
    return RIDGES[int(np.argmax(values))]


def _used(table: LabelTable, seed: int) -> np.ndarray:
    """[P] the pairs to fit to: all of them, or whole prompts at random up to MOST."""
    if table.pairs <= MOST:
        return np.ones(table.pairs, dtype=bool)
    size = np.bincount(table.cluster)
    order = np.random.default_rng(seed).permutation(len(size))
    taken = np.zeros(len(size), dtype=bool)
    taken[order[np.cumsum(size[order]) <= MOST]] = True
    return taken[table.cluster]


def _jackknife(replicates: np.ndarray) -> np.ndarray:
    """Delete-one-group standard errors of G replicates [G, ...]."""
    g = len(replicates)
    return np.sqrt((g - 1) / g * ((replicates - replicates.mean(axis=0)) ** 2).sum(axis=0))


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
