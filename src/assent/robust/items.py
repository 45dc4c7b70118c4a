"""Items that recur in many comparisons: Bradley-Terry scores of items and reliabilities of annotators, from labels alone.

P(annotator k says that a beats b) = eta_k sigmoid(r_a - r_b) + (1 - eta_k) sigmoid(r_b - r_a).  Every label draws an
order of its own from the scores, as in Bradley and Terry (1952); that is crowd-kit's NoisyBradleyTerry with skill
2 eta - 1 and no habit of choosing the first (Bugakova and others 2019), and LCPO's eq. 3 with scores as margins.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from assent.errors import AssentError
from assent.robust.lbfgs import minimise
from assent.robust.likelihood import PHI_EDGE


@dataclass(frozen=True)
class Items:
    """What labels alone say of recurring items.

    score [N]: nats, mean 0.  eta [K]: P(a label names the order drawn from the scores).
    correct [J]: that the label names that order, nan for ties.  log_likelihood: nats, without the ridge.
    """

    score: Tensor
    eta: Tensor
    correct: Tensor
    log_likelihood: float
    iterations: int
    converged: bool


def estimate_items(
    first: Tensor,
    second: Tensor,
    annotator: Tensor,
    p: Tensor,
    items: int,
    annotators: int,
    *,
    weight: Tensor | None = None,
    ridge: float = 0.05,
    start: float = 0.9,
    max_iter: int = 200,
    tol: float = 1e-2,
) -> Items:
    """Maximum of the likelihood of scores and reliabilities, with a weak normal prior on the scores.

    first, second, annotator [J] int; p [J]: the annotator's probability that ``first`` is the better one.
    ridge: precision of that prior (nats^-2); it keeps items that never lose finite.
    start: reliability to start from; below 1/2 the scores come out mirrored.
    tol: largest gradient at which the search stops, in units of its own standard error (an error of 1 % of the
    statistical one, by default).
    """
    problem = _Problem.of(first, second, annotator, p, items, annotators, weight, ridge)
    x = torch.zeros(items + annotators, dtype=torch.float64, device=problem.p.device)
    x[items:] = torch.logit(torch.tensor(start, dtype=torch.float64)) / problem.scale[items:]
    x, iterations, converged = minimise(problem.value, x, max_iter=max_iter, tol=tol)
    return problem.items_at(x, iterations, converged)


@dataclass(frozen=True)
class _Problem:
    first: Tensor
    second: Tensor
    annotator: Tensor
    p: Tensor
    lean: Tensor  # 2 p - 1
    weight: Tensor
    items: int
    annotators: int
    ridge: float
    scale: Tensor  # [N + K] one over the square root of the labels: brings all curvatures near one

    @staticmethod
    def of(first, second, annotator, p, items, annotators, weight, ridge) -> _Problem:
        p = p.detach().double()
        for name, index, size in (
            ("first", first, items), ("second", second, items), ("annotator", annotator, annotators),
        ):  # fmt: skip
            if len(index) != len(p) or not len(p) or int(index.min()) < 0 or int(index.max()) >= size:
                raise AssentError(f"{name} must hold one index from 0 to {size - 1} for each of the {len(p)} labels")
        if bool((first == second).any()):
            raise AssentError("a label compares an item with itself; drop such rows")
        weight = torch.ones_like(p) if weight is None else weight.detach().double()
        counts = torch.zeros(items + annotators, dtype=torch.float64, device=p.device)
        for index in (first, second, annotator + items):
            counts.index_add_(0, index, weight)
        counts[:items] = 0.25 * counts[:items] + ridge  # the logistic's curvature is at most 1/4
        counts[items:] = 0.1 * counts[items:] + 0.1
        return _Problem(first, second, annotator, p, 2 * p - 1, weight, items, annotators, ridge, counts.rsqrt())

    def unpack(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Scores [N] and eta [K]."""
        x = x * self.scale
        return x[: self.items], torch.sigmoid(x[self.items :].clamp(-PHI_EDGE, PHI_EDGE))

    def value(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Penalised negative log-likelihood and its gradient in the scaled parameters."""
        score, eta = self.unpack(x)
        right, chance, per_label = self._chances(score, eta)
        inverse = self.weight / chance
        pull = (2 * self._says(per_label) - 1) * right * (1 - right) * inverse
        told = (2 * right - 1) * self.lean * inverse
        gradient = torch.zeros_like(x)
        gradient.index_add_(0, self.first, pull).index_add_(0, self.second, pull, alpha=-1)
        gradient[self.items :].index_add_(0, self.annotator, told).mul_(eta * (1 - eta))
        gradient[: self.items] -= self.ridge * score
        value = (self.weight * chance.log()).sum() - 0.5 * self.ridge * (score**2).sum()
        return -value, -gradient * self.scale

    def _says(self, eta: Tensor) -> Tensor:
        """q [J]: weight of the order first over second in the label, given that the margin says so."""
        return 1 - self.p + eta * self.lean

    def _chances(self, score: Tensor, eta: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """sigmoid(margin), P(label) and eta of each label [J]; P(label) >= EDGE since eta stays off 0 and 1."""
        right = torch.sigmoid(score.index_select(0, self.first) - score.index_select(0, self.second))
        eta = eta.index_select(0, self.annotator)
        q = self._says(eta)
        return right, 1 - q + (2 * q - 1) * right, eta

    def items_at(self, x: Tensor, iterations: int, converged: bool) -> Items:
        """The answer at the end of the search."""
        score, eta = self.unpack(x)
        right, chance, per_label = self._chances(score, eta)
        w = self._says(per_label) * right / chance
        correct = torch.where(self.p == 0.5, torch.nan, torch.where(self.p > 0.5, w, 1 - w))
        value = float((self.weight * chance.log()).sum())
        return Items(score - score.mean(), eta, correct, value, iterations, converged)
