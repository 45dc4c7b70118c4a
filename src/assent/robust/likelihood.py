"""The marginal likelihood of labels given margins: value, gradient, curvature and the EM map.  Contract, part 5.

Pair i has one latent order z_i with P(z_i = stored) = sigmoid(T s_i).  Label j of annotator k says p_j, and
P(label | z = stored) is proportional to q_j = eta_k p_j + (1 - eta_k)(1 - p_j), P(label | z = swapped) to 1 - q_j.
Everything is float64; reliabilities are handled as phi = logit eta and the temperature as tau = log T.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import softplus

from assent.scores import Labels

EDGE = 1e-6  # reliabilities live in [EDGE, 1 - EDGE]: 0 and 1 are absorbing (sheet, section 8)
PHI_EDGE = 13.815509557963773  # logit(1 - EDGE)
TAU_EDGE = (-9.210340371976182, 6.907755278982137)  # temperatures live in [1e-4, 1e3]


@dataclass(frozen=True)
class Point:
    """Where the search stands: phi [K] = logit eta, tau = log T (scalar tensor)."""

    phi: Tensor
    tau: Tensor

    @property
    def eta(self) -> Tensor:
        return torch.sigmoid(self.phi).clamp(EDGE, 1 - EDGE)

    def moved(self, phi: Tensor, tau: Tensor) -> Point:
        """The point at (phi, tau), brought back into the box."""
        return Point(phi.clamp(-PHI_EDGE, PHI_EDGE), tau.clamp(*TAU_EDGE))


@dataclass(frozen=True)
class Local:
    """The model at one point: what the E-step knows and what the derivatives need."""

    log_likelihood: float  # weighted, nats, with the prior's terms
    posterior: Tensor  # [P] of the stored order
    gradient: Tensor  # [K + 1] with respect to (phi, tau)
    complete: Tensor  # [K + 1] complete-data curvature: the diagonal that EM steps by
    slope: Tensor  # [J] d posterior logit / d phi
    tilt: Tensor  # [P] d posterior logit / d tau
    missing: Tensor  # [P] w (1 - w), unweighted


@dataclass(frozen=True)
class Model:
    """Labels and margins prepared for many evaluations.

    logit [P] nats or None (flat prior); pair, annotator, p, weight [J]; free [J] is 0 for gold labels, which do not
    move their annotator; pair_weight [P] is the mean weight of the pair's labels; prior = (a, b) pseudo-counts.
    """

    logit: Tensor | None
    pair: Tensor
    annotator: Tensor
    p: Tensor
    weight: Tensor
    free: Tensor
    pair_weight: Tensor
    who: Tensor  # [J] annotator, K for gold labels
    lean: Tensor  # [J] 2 p - 1
    charge: Tensor  # [J] weight (2 p - 1)
    counts: Tensor  # [K] weighted labels that move each annotator
    against: Tensor  # [2, K + 1] labels of each annotator, and those for the swapped order, by their pair's weight
    annotators: int
    prior: tuple[float, float]
    fit_temperature: bool
    hard: bool  # every p is 0 or 1
    single: bool  # label j is the only label of pair j: no scatter needed
    even: bool  # weights are equal within every pair, so that the weighted sum is a likelihood

    @property
    def pairs(self) -> int:
        return self.pair_weight.shape[0]

    def to_pairs(self, values: Tensor) -> Tensor:
        """Sum over the labels of each pair -> [P]."""
        return values if self.single else values.new_zeros(self.pairs).index_add(0, self.pair, values)

    def to_labels(self, values: Tensor) -> Tensor:
        """The pair's value for each label -> [J]."""
        return values if self.single else values.index_select(0, self.pair)

    def to_annotators(self, values: Tensor) -> Tensor:
        """Sum over the labels of each annotator, gold ones left out -> [K]."""
        return values.new_zeros(self.annotators + 1).index_add(0, self.who, values)[:-1]

    def with_prior(self, prior: tuple[float, float]) -> Model:
        return replace(self, prior=prior)

    def label_terms(self, eta: Tensor) -> tuple[Tensor, Tensor]:
        """(eta_j, q_j) [J]; gold labels have reliability 1 - EDGE."""
        eta = _with_gold(eta, 1 - EDGE).index_select(0, self.who)
        return eta, 1 - self.p + eta * self.lean

    def at(self, point: Point) -> Local:
        """Value, posterior, gradient and EM curvature at a point."""
        evidence, base, terms = self._evidence(point)
        total = evidence if self.logit is None else evidence + point.tau.exp() * self.logit
        posterior = torch.sigmoid(total)
        agreed, slope, curvature = self._by_annotator(point.eta, terms, self.to_labels(posterior))
        a, b = self.prior
        eta = point.eta
        gradient = agreed - self.counts * eta + a - (a + b) * eta
        curvature = curvature + (a + b) * eta * (1 - eta)
        value = base + (self.pair_weight * softplus(total)).sum()
        if a or b:
            value = value + (a * eta.log() + b * (1 - eta).log()).sum()
        flat, tilt, pull, bend = self._by_temperature(point, posterior)
        value = value - flat
        return Local(
            log_likelihood=float(value),
            posterior=posterior,
            gradient=torch.cat([gradient, pull[None]]),
            complete=torch.cat([curvature, bend[None]]),
            slope=slope,
            tilt=tilt,
            missing=posterior * (1 - posterior),
        )

    def _evidence(self, point: Point) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor] | None]:
        """The labels' evidence [P], the log-probability of all given the swapped orders, and (eta_j, q_j) where soft."""
        if not self.hard:
            eta, q = self.label_terms(point.eta)
            log_not = (1 - q).log()
            return self.to_pairs(q.log() - log_not), (self.to_labels(self.pair_weight) * log_not).sum(), (eta, q)
        phi = _with_gold(torch.logit(point.eta), PHI_EDGE)
        base = (self.against[1] * phi - self.against[0] * softplus(phi)).sum()
        return self.to_pairs(self.lean * phi.index_select(0, self.who)), base, None

    def _by_temperature(self, point: Point, posterior: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """What the value loses to the prior, tilt [P], and the gradient and complete-data curvature in log T."""
        nothing = posterior.new_zeros(())
        if self.logit is None:
            return self.pair_weight.sum() * math.log(2), posterior.new_zeros(self.pairs), nothing, nothing
        prior_logit = point.tau.exp() * self.logit
        flat = (self.pair_weight * softplus(prior_logit)).sum()
        if not self.fit_temperature:
            return flat, torch.zeros_like(posterior), nothing, nothing
        prior = torch.sigmoid(prior_logit)
        weighted = self.pair_weight * prior_logit
        return flat, prior_logit, weighted @ (posterior - prior), (weighted * prior_logit) @ (prior * (1 - prior))

    def _by_annotator(self, eta: Tensor, terms, w: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Expected right labels [K], d posterior logit / d phi [J], and the complete-data curvature [K].

        The curvature is minus the expected second derivative in phi of a pair's log-likelihood given z; of hard labels
        it is n eta (1 - eta).
        """
        if terms is None:
            agreed = self.counts / 2 + self.to_annotators(self.charge * (w - 0.5))
            return agreed, self.lean, self.counts * eta * (1 - eta)
        eta, q = terms
        agree = eta * (w * self.p / q + (1 - w) * (1 - self.p) / (1 - q))
        step = self.lean * eta * (1 - eta)
        first = w / q - (1 - w) / (1 - q)
        second = w / q**2 + (1 - w) / (1 - q) ** 2
        curvature = self.to_annotators(self.weight * (step**2 * second - step * (1 - 2 * eta) * first))
        return self.to_annotators(self.weight * agree), step / (q * (1 - q)), curvature

    def information_times(self, local: Local, vector: Tensor) -> Tensor:
        """Observed information times ``vector`` [K + 1] (Louis: complete less missing), in (phi, tau)."""
        phi, tau = vector[:-1], vector[-1]
        along = self.to_pairs(local.slope * _with_gold(phi, 0.0).index_select(0, self.who))
        lost = local.missing * (along + local.tilt * tau if self.fit_temperature else along)
        out = local.complete * vector
        charge = self.charge if self.hard else self.weight * local.slope
        out[:-1] -= self.to_annotators(charge * self.to_labels(lost))
        if self.fit_temperature:
            out[-1] -= (self.pair_weight * local.tilt) @ lost + local.gradient[-1] * tau
        return out

    def information_diagonal(self, local: Local) -> Tensor:
        """Diagonal of the observed information -> [K + 1]; exact where an annotator judges a pair once."""
        squared = self.weight if self.hard else self.weight * local.slope**2
        out = local.complete.clone()
        out[:-1] -= self.to_annotators(squared * self.to_labels(local.missing))
        if self.fit_temperature:
            out[-1] -= (self.pair_weight * local.tilt**2) @ local.missing + local.gradient[-1]
        return out

    def em_step(self, point: Point, local: Local) -> Point:
        """One EM step: every eta to the mean of what its labels agree with; one Newton step of the M-step for T."""
        a, b = self.prior
        counts = self.counts + a + b
        # the gradient is what agrees, less what the present eta expects to
        eta = torch.where(counts > 0, point.eta + local.gradient[:-1] / counts.clamp(min=1e-300), point.eta)
        phi = torch.logit(eta.clamp(EDGE, 1 - EDGE))
        tau = point.tau
        if self.fit_temperature:
            ratio = local.gradient[-1] / local.complete[-1].clamp(min=1e-12)
            tau = tau + torch.log1p(ratio.clamp(-0.6, 1.5))
        return point.moved(phi, tau)


def prepare(
    logit: Tensor | None,
    labels: Labels,
    annotators: int,
    pairs: int,
    *,
    fit_temperature: bool,
    prior: tuple[float, float] = (0.0, 0.0),
) -> Model:
    """The Model of these labels in float64 on the labels' device."""
    p = labels.p.detach().double()
    pair, annotator = labels.pair.long(), labels.annotator.long()
    weight = torch.ones_like(p) if labels.weight is None else labels.weight.detach().double()
    free = torch.ones_like(p) if labels.gold is None else (~labels.gold.bool()).double()
    count = torch.bincount(pair, minlength=pairs).double()
    sums = weight.new_zeros(pairs).index_add(0, pair, weight)
    pair_weight = torch.where(count > 0, sums / count.clamp(min=1), 0.0)
    single = len(p) == pairs and bool((pair == torch.arange(pairs, device=pair.device)).all())
    who = torch.where(free > 0, annotator, annotators)
    shared = pair_weight.index_select(0, pair)
    against = torch.stack([weight.new_zeros(annotators + 1).index_add(0, who, x) for x in (shared, shared * (1 - p))])
    return Model(
        logit=None if logit is None else logit.detach().double(),
        pair=pair,
        annotator=annotator,
        p=p,
        weight=weight,
        free=free,
        pair_weight=pair_weight,
        who=who,
        lean=2 * p - 1,
        charge=weight * (2 * p - 1),
        counts=weight.new_zeros(annotators + 1).index_add(0, who, weight)[:-1],
        against=against,
        annotators=annotators,
        prior=prior,
        fit_temperature=fit_temperature,
        hard=bool(((p == 0) | (p == 1)).all()),
        single=single,
        even=bool((shared - weight).abs().max() < 1e-9),
    )


def _with_gold(values: Tensor, gold: float) -> Tensor:
    """``values`` [K] with one more at the end for gold labels."""
    return torch.cat([values, values.new_tensor([gold])])
