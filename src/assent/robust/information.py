"""Observed information of (eta, log T) at an estimate, its inverse, and the sandwich for clustered pairs.

In the scale of eta itself, where it stays finite at the edge.  With one label a pair the matrix is an arrow (a diagonal
and the temperature's row), so that a million annotators cost no more than one; otherwise it is dense up to 4,096
annotators, beyond which the terms between annotators are left out.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from assent.robust.likelihood import Model, Point

DENSE = 4096  # annotators up to which terms between them are kept
MEAT = 20_000_000  # entries of the clusters' score matrix up to which the whole sandwich is computed


@dataclass(frozen=True)
class Scores:
    """Derivatives of the log-likelihood at a point, by label and pair.

    label [J]: in eta, unweighted, 0 for gold.  tilt [P]: in log T.  spread [J]: d posterior logit / d eta.
    missing [P]: w (1 - w).  stretch [P]: T s.  other [J]: the pair's posterior without this label.
    """

    label: Tensor
    tilt: Tensor
    spread: Tensor
    missing: Tensor
    stretch: Tensor
    other: Tensor


def scores_at(model: Model, point: Point) -> Scores:
    """The derivatives that information, sandwich and profiles are made of."""
    _, q = model.label_terms(point.eta)
    evidence = torch.logit(q)
    stretch = model.pair_weight * 0 if model.logit is None else point.tau.exp() * model.logit
    total = stretch + model.to_pairs(evidence)
    w = torch.sigmoid(total)
    spread = (2 * model.p - 1) / (q * (1 - q)) * model.free
    # the posterior without the label is stable where w - q cancels: D = q A + (1 - q)(1 - A)
    other = torch.sigmoid(model.to_labels(total) - evidence)
    label = (2 * model.p - 1) * (2 * other - 1) / (q * other + (1 - q) * (1 - other)) * model.free
    tilt = stretch * (w - torch.sigmoid(stretch)) * float(model.fit_temperature)
    return Scores(label, tilt, spread, w * (1 - w), stretch * float(model.fit_temperature), other)


@dataclass(frozen=True)
class Covariance:
    """Covariance of (eta, log T): dense [K + 1, K + 1], or diag(1 / diagonal) + outer(lift, lift) / corner.

    diagonal [K]: information on each eta with everything else known.
    """

    diagonal: Tensor
    dense: Tensor | None = None
    lift: Tensor | None = None
    corner: float = torch.inf

    def variance(self) -> Tensor:
        """[K + 1] variances of every eta and of log T."""
        if self.dense is not None:
            return self.dense.diagonal()
        eta = 1 / self.diagonal + self.lift**2 / self.corner
        return torch.cat([eta, eta.new_tensor([1 / self.corner])])

    def quadratic(self, vector: Tensor) -> float:
        """vector' covariance vector for ``vector`` [K] over the reliabilities."""
        if self.dense is not None:
            return float(vector @ self.dense[:-1, :-1] @ vector)
        return float((vector**2 / self.diagonal).sum() + (vector @ self.lift) ** 2 / self.corner)

    def times(self, rows: Tensor) -> Tensor:
        """rows [N, K + 1] times the covariance."""
        if self.dense is not None:
            return rows @ self.dense
        last = (rows[:, -1] + rows[:, :-1] @ self.lift) / self.corner
        return torch.cat([rows[:, :-1] / self.diagonal + last[:, None] * self.lift, last[:, None]], dim=1)


def covariance(model: Model, point: Point, scores: Scores) -> Covariance:
    """Inverse of the observed information; annotators without information get a huge variance."""
    eta = point.eta
    diagonal = model.to_annotators(model.weight * scores.label**2)
    diagonal = diagonal.clamp(min=1e-6)
    w = model.to_labels(scores.missing)
    column = -model.to_annotators(model.weight * w * scores.spread * model.to_labels(scores.stretch))
    corner = torch.tensor(1.0, dtype=torch.float64, device=eta.device)
    if model.fit_temperature:
        flat = torch.sigmoid(scores.stretch)
        kept = scores.stretch**2 * (flat * (1 - flat) - scores.missing) - scores.tilt
        corner = (model.pair_weight * kept).sum()
    if model.single or model.annotators > DENSE:
        schur = float(corner - (column**2 / diagonal).sum()) if model.fit_temperature else torch.inf
        return Covariance(diagonal, lift=-column / diagonal, corner=max(schur, 1e-9))
    matrix = torch.diag(torch.cat([diagonal, corner[None]]))
    matrix[:-1, :-1] -= _between(model, scores)
    if model.fit_temperature:
        matrix[-1, :-1] = matrix[:-1, -1] = column
    return Covariance(diagonal, dense=_inverse(matrix))


def _between(model: Model, scores: Scores) -> Tensor:
    """[K, K] off-diagonal information lost because labels of one pair share its order."""
    k = model.annotators
    order = torch.argsort(model.pair, stable=True)
    pair, who = model.pair[order], model.annotator[order]
    value = scores.spread[order] * scores.missing.sqrt()[pair]
    weight = model.weight[order].sqrt()
    value = value * weight
    out = torch.zeros(k * k, dtype=torch.float64, device=pair.device)
    for offset in range(1, int(torch.bincount(pair).max())):
        same = pair[offset:] == pair[:-offset]
        product = (value[offset:] * value[:-offset])[same]
        left, right = who[offset:][same], who[:-offset][same]
        out.index_add_(0, left * k + right, product)
        out.index_add_(0, right * k + left, product)
    return out.view(k, k).fill_diagonal_(0.0)


def _inverse(matrix: Tensor) -> Tensor:
    """Inverse of a symmetric matrix whose flat or falling directions are given a very large variance instead."""
    scale = matrix.diagonal().clamp(min=1e-12).rsqrt()
    values, vectors = torch.linalg.eigh(scale[:, None] * matrix * scale)
    values = values.clamp(min=1e-7)
    return (vectors / values) @ vectors.T * scale[:, None] * scale


def inflation(
    model: Model, scores: Scores, known: Covariance, clusters: Tensor, weights: Tensor
) -> tuple[Tensor, float]:
    """How much wider the sandwich over clusters [P] is than the model's own variance.

    Returns the ratio of variances for each annotator [K] and for the combination ``weights`` [K] of reliabilities.
    Above MEAT entries the ratio is that of each annotator with all else known.
    """
    names, cluster = torch.unique(clusters, return_inverse=True)
    count, k = len(names), model.annotators
    of_label = cluster.index_select(0, model.pair)
    factor = count / max(count - 1, 1)
    gained = model.weight * scores.label
    if count * (k + 1) <= MEAT:
        rows = torch.zeros(count * (k + 1), dtype=torch.float64, device=cluster.device)
        rows.index_add_(0, of_label * (k + 1) + model.annotator, gained)
        rows.index_add_(0, cluster * (k + 1) + k, model.pair_weight * scores.tilt)
        influence = known.times(rows.view(count, k + 1))
        ratio = factor * (influence**2).sum(0)[:-1] / known.variance()[:-1]
        combined = factor * float(((influence[:, :-1] @ weights) ** 2).sum()) / max(known.quadratic(weights), 1e-300)
        return ratio, combined
    keys, place = torch.unique(of_label * k + model.annotator, return_inverse=True)
    sums = torch.zeros(len(keys), dtype=torch.float64, device=keys.device).index_add_(0, place, gained)
    ratio = factor * model.to_annotators(gained * 0).index_add(0, keys % k, sums**2) / known.diagonal
    return ratio, float((ratio * weights).sum() / weights.sum().clamp(min=1e-300))
