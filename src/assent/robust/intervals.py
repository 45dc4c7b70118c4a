"""Intervals for reliabilities, temperature and noise rate: profile likelihoods that hold near the edge too.

Each reliability's own likelihood, with everything else at the estimate, is concave in eta; its deviance is shrunk by
the share of information that survives not knowing the rest (Schur complement of the observed information) and cut at
the chi-squared quantile.  The noise rate combines these half-widths with their correlations (MOVER).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from assent.errors import AssentError
from assent.robust.estimation import Estimate, label_correct, maximise, noise_rate
from assent.robust.information import Scores, covariance, inflation, scores_at
from assent.robust.likelihood import PHI_EDGE, Model, Point, prepare
from assent.scores import Labels

OPEN = 1e-4
"""Limits of a reliability nearer than this to both 0 and 1 say that nothing is known of it."""


@dataclass(frozen=True)
class Intervals:
    """Confidence limits at ``level``: low, high [K] of every eta; of the noise rate; of the temperature.

    A given temperature has limits equal to itself.
    """

    low: Tensor
    high: Tensor
    noise_rate_low: float
    noise_rate_high: float
    temperature_low: float
    temperature_high: float
    level: float = 0.95


def intervals(
    found: Estimate,
    logit: Tensor | None,
    labels: Labels,
    *,
    level: float = 0.95,
    clusters: Tensor | None = None,
) -> Intervals:
    """Confidence intervals of an ``estimate`` made from the same ``logit`` [P] and ``labels``.

    clusters [P] int: pairs of one cluster (one prompt, say) may err together; variances are then those of the
    sandwich.  The noise rate meant is the expected one, the mean of 1 - eta over the labels given.  Margins are taken
    as given: the uncertainty of fitting them is not in these intervals.  A prior does not narrow them.
    """
    if not 0 < level < 1:
        raise AssentError(f"level is {level}; pass a confidence level between 0 and 1, such as 0.95")
    pairs = len(found.posterior)
    if clusters is not None and len(clusters) != pairs:
        raise AssentError(f"clusters holds {len(clusters)} values for {pairs} pairs; pass one per pair")
    model = prepare(logit, labels, len(found.eta), pairs, fit_temperature=found.fit_temperature)
    point = Point(torch.logit(found.eta), torch.tensor(found.temperature).double().clamp(min=1e-300).log())
    noise = found.noise_rate
    if found.prior != (0.0, 0.0):  # intervals are the likelihood's, whatever the estimate was shrunken to
        plain = maximise(replace(model, fit_temperature=False), point, 500, 1e-8)
        point, noise = plain.point, noise_rate(model, label_correct(model, plain.local.posterior))
    scores = scores_at(model, point)
    known = covariance(model, point, scores)
    weights = _noise_weights(model)
    wider, wider_noise = torch.ones_like(found.eta), 1.0
    if clusters is not None:
        wider, wider_noise = inflation(model, scores, known, clusters, weights)
        wider = wider.clamp(min=1e-3)
    z = math.sqrt(2) * float(torch.erfinv(torch.tensor(level, dtype=torch.float64)))
    variance = known.variance()
    # deviance to fall by, were everything else known: chi-squared times the information lost to the rest
    cut = z**2 / 2 * wider * (variance[:-1] * known.diagonal).clamp(min=1.0)
    low, high = _profile(model, point, scores, cut)
    noise = _combine(noise, point.eta, known, weights, low, high, wider, wider_noise)
    if found.rests_on != "gold" and found.log_likelihood - found.mirror_log_likelihood < z**2 / 2:
        noise = _opened(noise, found.noise_rate, point.eta, weights, low, high)
    reach = z * float(variance[-1]) ** 0.5 if found.fit_temperature else 0.0
    return Intervals(
        low=low,
        high=high,
        noise_rate_low=noise[0],
        noise_rate_high=noise[1],
        temperature_low=found.temperature * math.exp(-min(reach, 50.0)),
        temperature_high=found.temperature * math.exp(min(reach, 50.0)),
        level=level,
    )


def _noise_weights(model: Model) -> Tensor:
    """Minus the derivative of the expected noise rate by each eta -> [K]; ties are left out."""
    counted = model.weight * (model.p != 0.5)
    sure = (2 * model.p - 1).abs()
    return model.to_annotators(counted * sure * model.free) / counted.sum().clamp(min=1e-300)


def _combine(noise: float, eta, known, weights, low, high, wider, wider_noise: float) -> tuple[float, float]:
    """Limits of the noise rate from the limits of the reliabilities and the correlations between them.

    A sum over n annotators of like share is less skewed than one by the root of n, so the two half-widths are brought
    that much nearer to each other (with one annotator they are the profile's own).
    """
    spread = (known.variance()[:-1] * wider).clamp(min=1e-300).sqrt()
    below, above = (
        math.sqrt(max(0.0, wider_noise * known.quadratic(weights * side / spread))) for side in (eta - low, high - eta)
    )
    share = (weights * (high - low)) ** 2
    many = max(1.0, float(share.sum() ** 2 / (share**2).sum().clamp(min=1e-300)))
    middle = math.sqrt((below**2 + above**2) / 2)
    below, above = (middle * (side / max(middle, 1e-300)) ** (many**-0.5) for side in (below, above))
    return max(0.0, noise - above), min(1.0, noise + below)


def _opened(limits: tuple[float, float], noise: float, eta, weights, low, high) -> tuple[float, float]:
    """Limits of the noise rate where the mirror image is about as likely: margins and agreement say nothing.

    The limits of annotators of whom nothing is known add up as they are: their correlations are those of noise.
    """
    unknown = weights * ((low < OPEN) & (high > 1 - OPEN))
    above, below = (float((unknown * side).sum()) for side in (high - eta, eta - low))
    return min(limits[0], max(0.0, noise - above)), max(limits[1], min(1.0, noise + below))


def _profile(model: Model, point: Point, scores: Scores, cut: Tensor) -> tuple[Tensor, Tensor]:
    """Where each annotator's own log-likelihood has fallen by ``cut`` [K] below its value at the point."""
    gain = (2 * model.p - 1) * (2 * scores.other - 1) * model.free
    rest = (1 - model.p) * scores.other + model.p * (1 - scores.other)
    counted = model.weight * model.free

    def value(phi: Tensor) -> tuple[Tensor, Tensor]:
        eta = torch.sigmoid(phi)
        ratio = rest + eta.index_select(0, model.annotator) * gain
        slope = model.to_annotators(counted * gain / ratio)
        return model.to_annotators(counted * ratio.log()), slope * eta * (1 - eta)

    phi = point.phi.clamp(-PHI_EDGE, PHI_EDGE)
    best, _ = value(phi)
    low, high = (torch.sigmoid(_fall(value, best, phi, cut, side * PHI_EDGE)) for side in (-1.0, 1.0))
    return low, high


def _fall(value, best: Tensor, phi: Tensor, cut: Tensor, edge: float) -> Tensor:
    """Solve value(x) = best - cut between phi and the edge: Newton on the root of the deviance, kept in a bracket."""
    near, far = phi.clone(), torch.full_like(phi, edge)
    reached = best - value(far)[0] >= cut
    x = phi + (far - phi) * 0.1
    goal = cut.sqrt()
    for _ in range(25):
        there, slope = value(x)
        fallen = (best - there).clamp(min=0)
        short = fallen < cut
        near, far = torch.where(short, x, near), torch.where(short, far, x)
        root = fallen.clamp(min=1e-12).sqrt()
        step = x + (root - goal) * 2 * root / torch.where(slope == 0, 1e-300, slope)
        inside = ((step - near) * (step - far) < 0) & torch.isfinite(step)
        new = torch.where(inside, step, (near + far) / 2)
        if bool(((new - x).abs() < 1e-5).all()):
            break
        x = new
    return torch.where(reached, x, edge)
