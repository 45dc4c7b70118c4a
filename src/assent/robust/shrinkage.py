"""Empirical Bayes for annotators with few labels: a Beta distribution of reliabilities fitted over all of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor

from assent.robust.lbfgs import minimise
from assent.robust.likelihood import Model, Point

S = TypeVar("S")


def fit_prior(model: Model, plain: S, maximise: Callable[[Model, Point], S], rounds: int = 8) -> S:
    """Alternate between reliabilities under pseudo-counts (a, b) and the (a, b) that suit them.

    An annotator's margins and labels are worth as many clear verdicts as give the same curvature; the pseudo-counts
    maximise the Beta-binomial likelihood of those verdicts.  With fewer than 3 annotators there is nothing to learn
    from the others and ``plain``, the maximum of the likelihood, is returned.
    """
    search = plain
    seen = model.counts > 0
    if int(seen.sum()) < 3:
        return search
    prior = (2.0, 0.5)
    for _ in range(rounds):
        search = maximise(model.with_prior(prior), search.point)
        trials, right = effective_verdicts(search.model, search)
        new = beta_binomial(trials[seen], right[seen], prior)
        if max(abs(n - o) / o for n, o in zip(new, prior, strict=True)) < 0.02:
            break
        prior = new
    return search


def effective_verdicts(model: Model, search) -> tuple[Tensor, Tensor]:
    """(trials, right) [K]: the clear verdicts that would carry the annotator's information and point the same way."""
    eta = search.point.eta
    a, b = model.prior
    spread = (eta * (1 - eta)).clamp(min=1e-4)
    trials = (model.information_diagonal(search.local)[:-1] / spread - (a + b)).clamp(min=1e-3)
    # the data's own verdicts: what remains of the posterior mode when the pseudo-counts are taken away
    right = (eta * (trials + a + b) - a).clamp(min=0)
    return trials, torch.minimum(right, trials)


def beta_binomial(trials: Tensor, right: Tensor, start: tuple[float, float]) -> tuple[float, float]:
    """Pseudo-counts (a, b) of greatest Beta-binomial likelihood, at most 1,000 in all, by gradient in log scale."""
    wrong = trials - right

    def loss(theta: Tensor) -> tuple[Tensor, Tensor]:
        inside = ((theta > -4.0) & (theta < 6.2)).double()
        (a, b) = theta.clamp(-4.0, 6.2).exp()
        ratio = torch.lgamma(right + a) + torch.lgamma(wrong + b) - torch.lgamma(trials + a + b)
        value = (ratio - torch.lgamma(a) - torch.lgamma(b) + torch.lgamma(a + b)).sum()
        # a weak pull of log(a + b) to 2 keeps the answer finite when all annotators are alike
        value = value - 0.02 * ((a + b).log() - 2) ** 2
        common = (
            torch.digamma(a + b) - torch.digamma(trials + a + b) - 0.04 * ((a + b).log() - 2) / (a + b) / len(trials)
        )
        slope_a = (torch.digamma(right + a) - torch.digamma(a) + common).sum() * a
        slope_b = (torch.digamma(wrong + b) - torch.digamma(b) + common).sum() * b
        return -value, -torch.stack([slope_a, slope_b]) * inside

    begin = torch.tensor(start, dtype=torch.float64, device=trials.device).log()
    theta, _, _ = minimise(loss, begin, max_iter=100, tol=1e-4)
    a, b = theta.clamp(-4.0, 6.2).exp()
    return float(a), float(b)
