"""What the tests of LCPO against its sheet share: the oracle's functions, scores of given margins, labels and states."""

from __future__ import annotations

import numpy as np
import torch

from assent.objectives import DPO
from assent.robust import LCPO
from assent.scores import Labels, PairScores, Scores

S = np.array([-30.0, -4.0, -1.3, -0.2, 0.0, 0.7, 2.5, 6.0, 30.0])
ETAS = (0.05, 0.3, 0.5, 0.76, 0.9, 0.99)


def sigmoid(x):
    return np.where(x >= 0, 1 / (1 + np.exp(-np.abs(x))), np.exp(-np.abs(x)) / (1 + np.exp(-np.abs(x))))


def softplus(x):
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def bayes(s, eta):
    """Eq. 4 with the fraction multiplied out."""
    p = sigmoid(s)
    return eta * p / (eta * p + (1 - eta) * sigmoid(-s))


def tensor(values):
    return torch.tensor(np.asarray(values), dtype=torch.float64)


def pairs(h, labels=None, weight=None, target=None):
    """Scores whose chosen-minus-rejected log-ratio is ``h`` (a tensor keeps its graph)."""
    h = h if isinstance(h, torch.Tensor) else tensor(h)
    zero = torch.zeros_like(h.detach())
    return PairScores(Scores(h, zero), Scores(zero, zero), labels=labels, weight=weight, target=target)


def one_each(count, annotator=None, p=None):
    annotator = [0] * count if annotator is None else annotator
    return Labels(torch.arange(count), torch.tensor(annotator), tensor([1.0] * count if p is None else p))


def state(*etas):
    return {"eta": tensor(etas)}


def logistic_lcpo(**fields):
    """LCPO over DPO with beta = 1, so that s is the log-ratio gap itself."""
    return LCPO(DPO(beta=1.0), **fields)


def gradient(objective, s, eta, labels=None):
    """d loss / d s of every pair."""
    h = tensor(s).requires_grad_(True)
    loss = objective(pairs(h, labels or one_each(len(s))), state(eta)).sum()
    return torch.autograd.grad(loss, h)[0].numpy()


def random_scores(count=7, seed=0):
    g = np.random.default_rng(seed)
    side = lambda: Scores(  # noqa: E731
        tensor(-20 * g.random(count)), tensor(-20 * g.random(count)), tensor(g.integers(3, 12, count).astype(float))
    )
    return PairScores(side(), side(), labels=one_each(count))
