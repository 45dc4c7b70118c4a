"""Reliabilities of annotators and one temperature by maximum likelihood, from margins, from agreement, or from both.

LCPO's EM (arXiv:2509.24159, eqs. 3, 4 and 6) with pooled labels (Dawid and Skene 1979) and a temperature on the
margins; the same fixed points, reached by a Newton search that falls back on EM steps.  Contract, part 5.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from assent.errors import AssentError
from assent.robust.identify import Evidence, evidence_of
from assent.robust.likelihood import TAU_EDGE, Local, Model, Point, prepare
from assent.robust.newton import Newton
from assent.robust.shrinkage import fit_prior
from assent.scores import Labels


@dataclass(frozen=True)
class Estimate:
    """Maximum-likelihood reliabilities and what they say of each pair and label.

    eta [K]: P(a label of annotator k names the true order).  temperature: T in P(z = stored) = sigmoid(T s).
    posterior [P]: that the stored order is right.  correct [J]: that the label names the true order, nan for ties.
    noise_rate: weighted mean of 1 - correct.  log_likelihood: nats, weighted by the pairs' mean weights.
    mirror_log_likelihood: the greatest found with every judgement read the other way; a difference below about 2 means
    that the data do not tell which side is right (with labels alone both are equal).
    prior: pseudo-counts (right, wrong) added to every annotator; (0, 0) for plain maximum likelihood.
    """

    eta: Tensor
    temperature: float
    posterior: Tensor
    correct: Tensor
    noise_rate: float
    log_likelihood: float
    mirror_log_likelihood: float
    iterations: int
    converged: bool
    evidence: Evidence
    prior: tuple[float, float] = (0.0, 0.0)
    fit_temperature: bool = False

    @property
    def rests_on(self) -> Literal["gold", "agreement", "model"]:
        """What the estimate rests on."""
        return self.evidence.rests_on


def estimate(
    logit: Tensor | None,
    labels: Labels,
    annotators: int,
    *,
    temperature: float | Literal["fit"] = "fit",
    start: float | Sequence[float] | Tensor = 0.9,
    prior: tuple[float, float] | Literal["fit"] | None = None,
    pairs: int | None = None,
    max_iter: int = 500,
    tol: float = 1e-8,
) -> Estimate:
    """Maximum likelihood of (eta_k, T) given margins ``logit`` [P] in nats of the stored order.

    logit: calibrated or proportional to calibrated logits of the true order, not fitted on these very labels
    (held-out folds); None means labels alone, with a flat prior on every pair.
    labels: J labels of P pairs; a gold label has reliability 1 - 1e-6 and does not move its annotator's; weights
    multiply counts, not evidence.  A soft label p is read as a probability, so that a tie says nothing.
    temperature: "fit", or the given T >= 0 (1 where the logits are calibrated).
    start: reliability to start from, one or one per annotator; with labels alone it also picks the side: estimates
    from a start below 1/2 are the mirror image of those from above.
    prior: pseudo-counts (right, wrong) for every annotator, or "fit" for empirical Bayes over the annotators.
    pairs: number of pairs where ``logit`` is None (default: the largest index + 1).
    tol: largest EM residual of any eta at which the search stops.
    Raises AssentError for shapes, indices or values that have no meaning.
    """
    pairs = _check(logit, labels, annotators, temperature, pairs)
    fit_temperature = temperature == "fit" and logit is not None
    model = prepare(logit, labels, annotators, pairs, fit_temperature=fit_temperature)
    point = _start(model, start, 1.0 if temperature == "fit" else float(temperature))
    search, mirror = _both_sides(model, maximise(model, point, max_iter, tol), max_iter, tol)
    if prior is not None and prior != (0.0, 0.0):
        search = _shrunken(search, prior, max_iter, tol)
    return _finish(search, mirror, logit, labels)


@dataclass(frozen=True)
class Search:
    """The end of a search: where it stopped and what the model says there."""

    model: Model
    point: Point
    local: Local
    iterations: int
    converged: bool


def maximise(model: Model, point: Point, max_iter: int, tol: float) -> Search:
    """The maximum of the likelihood near ``point``.

    Two EM steps, then Newton steps by conjugate gradients; EM steps wherever Newton does not ascend.
    """
    local, newton = model.at(point), Newton.of(model)
    counts = model.counts + sum(model.prior)
    for iteration in range(max_iter):
        em = model.em_step(point, local)
        if _residual(point, em, counts) < tol:
            return Search(model, point, local, iteration, True)
        candidates = newton.steps(point, local) if iteration >= 2 else ()
        point, local = _best(model, point, local, em, candidates)
    return Search(model, point, local, max_iter, _residual(point, model.em_step(point, local), counts) < tol)


def _both_sides(model: Model, search: Search, max_iter: int, tol: float) -> tuple[Search, float]:
    """The likelier of the two sides, and the log-likelihood of the other.

    Where pairs carry one label each and none is gold, the likelihood is concave in every reliability and one search
    is enough; the other side is then told by the mirrored reliabilities with margins that say nothing.
    """
    mirrored = Point(-search.point.phi, search.point.tau)
    symmetric = model.logit is None and bool((model.free > 0).all())
    if not model.single and not symmetric:
        other = maximise(model, mirrored, 60, 1e-4)
        if (other.point.eta - search.point.eta).abs().max() > 1e-3:
            if other.local.log_likelihood > search.local.log_likelihood:
                search, other = maximise(model, other.point, max_iter, tol), search
            return search, other.local.log_likelihood
    if model.fit_temperature:
        mirrored = Point(mirrored.phi, mirrored.tau.new_tensor(TAU_EDGE[0]))
    return search, model.at(mirrored).log_likelihood


def _shrunken(search: Search, prior: tuple[float, float] | Literal["fit"], max_iter: int, tol: float) -> Search:
    """The reliabilities under pseudo-counts, at the temperature of the plain maximum.

    The temperature stays: shrunken reliabilities are too alike, and a temperature fitted beside them would make up
    for that by being too high (measured: 1.59 for a true 1.43, where the plain maximum gives 1.45).
    """
    fixed = replace(search.model, fit_temperature=False)
    if prior == "fit":
        end = fit_prior(fixed, search, lambda model, point: maximise(model, point, max_iter, tol))
    else:
        end = maximise(fixed.with_prior(prior), search.point, max_iter, tol)
    model = search.model.with_prior(end.model.prior)
    return replace(end, model=model, local=model.at(end.point), iterations=search.iterations + end.iterations)


def _residual(point: Point, em: Point, counts: Tensor) -> float:
    """How far one EM step would move: the largest change of any eta, and of log T at the scale of an eta."""
    moved = ((em.eta - point.eta).abs() * (counts > 0)).max() if len(counts) else torch.zeros(())
    return max(float(moved), float((em.tau - point.tau).abs()))


def _best(model: Model, point: Point, local: Local, em: Point, candidates) -> tuple[Point, Local]:
    """The first Newton candidate that ascends; otherwise the EM step, its temperature halved until it ascends.

    Weights that differ within a pair make an estimating equation, not a likelihood: there a candidate must shrink
    the scaled gradient instead.
    """
    for candidate in candidates:
        there = model.at(candidate)
        if model.even:
            better = there.log_likelihood >= local.log_likelihood - 1e-13 * abs(local.log_likelihood)
        else:
            better = _size(there) <= 0.9 * _size(local)
        if better and bool(torch.isfinite(there.gradient).all()):
            return candidate, there
    there = model.at(em)
    for _ in range(30):
        if not model.even or not model.fit_temperature or there.log_likelihood >= local.log_likelihood:
            break
        em = point.moved(em.phi, (em.tau + point.tau) / 2)
        there = model.at(em)
    return em, there


def _size(local: Local) -> float:
    """Length of the gradient in the metric of the complete-data curvature."""
    return float((local.gradient**2 / local.complete.clamp(min=1e-12)).sum())


def label_correct(model: Model, posterior: Tensor) -> Tensor:
    """P(label names the true order) [J] from the posterior [P] of the stored orders; nan for ties."""
    w = model.to_labels(posterior)
    return torch.where(model.p == 0.5, torch.nan, torch.where(model.p > 0.5, w, 1 - w))


def noise_rate(model: Model, correct: Tensor) -> float:
    """Weighted mean of 1 - ``correct`` [J] over the labels that are no ties; nan when all are."""
    counted = torch.where(correct.isnan(), 0.0, model.weight)
    return float((counted * (1 - correct.nan_to_num())).sum() / counted.sum())


def _finish(search: Search, mirror: float, logit: Tensor | None, labels: Labels) -> Estimate:
    """The Estimate at the end of a search."""
    model, local = search.model, search.local
    correct = label_correct(model, local.posterior)
    return Estimate(
        eta=search.point.eta,
        temperature=float(search.point.tau.exp()),
        posterior=local.posterior,
        correct=correct,
        noise_rate=noise_rate(model, correct),
        log_likelihood=local.log_likelihood,
        mirror_log_likelihood=mirror,
        iterations=search.iterations,
        converged=search.converged,
        evidence=evidence_of(logit is not None, labels, model.annotators),
        prior=model.prior,
        fit_temperature=model.fit_temperature,
    )


def _start(model: Model, start: float | Sequence[float] | Tensor, temperature: float) -> Point:
    eta = torch.as_tensor(start, dtype=torch.float64, device=model.p.device)
    if not bool(((eta > 0) & (eta < 1)).all()) or eta.ndim > 1 or (eta.ndim and len(eta) != model.annotators):
        raise AssentError(f"start is {start}; pass one reliability between 0 and 1, or one per annotator")
    eta = eta.expand(model.annotators).clone()
    tau = torch.tensor(max(temperature, 1e-300), dtype=torch.float64, device=eta.device).log()
    point = Point(torch.logit(eta), tau)
    return point.moved(point.phi, tau) if model.fit_temperature else point


def _check(logit, labels: Labels, annotators: int, temperature, pairs: int | None) -> int:
    """Number of pairs; AssentError when the input has no meaning."""
    if isinstance(temperature, bool) or (isinstance(temperature, str) and temperature != "fit"):
        raise AssentError(f"temperature is {temperature!r}; pass 'fit' or a number, 1.0 for calibrated logits")
    if not isinstance(temperature, str) and not (0 <= float(temperature) < float("inf")):
        raise AssentError(f"temperature is {temperature}; pass 'fit' or a number >= 0")
    if len(labels) == 0:
        raise AssentError("there are no labels to estimate from; pass at least one")
    if logit is not None and pairs is not None and len(logit) != pairs:
        raise AssentError(f"logit holds {len(logit)} pairs but pairs={pairs}; leave pairs out")
    if pairs is None:
        pairs = len(logit) if logit is not None else int(labels.pair.max()) + 1
    for name, index, size in (("pair", labels.pair, pairs), ("annotator", labels.annotator, annotators)):
        if int(index.min()) < 0 or int(index.max()) >= size:
            low, high = int(index.min()), int(index.max())
            raise AssentError(f"labels.{name} runs from {low} to {high}; expected indices from 0 to {size - 1}")
    if logit is not None and not bool(torch.isfinite(logit).all()):
        bad = int((~torch.isfinite(logit)).sum())
        raise AssentError(f"{bad} of {len(logit)} logits are not finite; drop these pairs or give them 0")
    if not bool(((labels.p >= 0) & (labels.p <= 1)).all()):
        raise AssentError("a label's p lies outside [0, 1]; p is the probability that the stored order is right")
    if labels.weight is not None and not bool(((labels.weight >= 0) & torch.isfinite(labels.weight)).all()):
        raise AssentError("a label's weight is negative or not finite; weights count rows")
    return pairs
