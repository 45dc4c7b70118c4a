"""Linear worlds: an implicit reward s = x . theta over features x ~ N(0, I), judged by annotators of mixed reliability.

A pair is the difference x of its completions' features.  One latent order per pair is drawn from Bradley-Terry,
P(first is better) = sigmoid(x . theta*); its annotator reports it, flipped with probability 1 - reliability.
Worlds A, B and C of the LCPO sheet (arXiv:2509.24159) are `draw` with their sizes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from assent.worlds.stacked import generators


@dataclass(frozen=True)
class Linear:
    """M runs of N pairs over d features.

    x [M, N, d]: features of the preferred completion minus those of the other.  truth [M, d]: theta*.
    annotator [M, N], right [M, N], reliability [M, K] as in `stacked.World`.
    """

    seeds: tuple[int, ...]
    x: Tensor
    truth: Tensor
    annotator: Tensor
    right: Tensor
    reliability: Tensor

    def start(self) -> Tensor:
        """Policy = reference: theta = 0, [M, d]."""
        return torch.zeros_like(self.truth)

    def logp(self, theta: Tensor, rows: Tensor) -> tuple[Tensor, Tensor, float]:
        """Half the margin on either side [M, B], nats; the reference's is 0."""
        picked = self.x.gather(1, rows[:, :, None].expand(-1, -1, self.x.shape[2]))
        half = torch.einsum("mbd,md->mb", picked, theta) / 2
        return half, -half, 0.0

    def anonymous(self) -> Linear:
        """The same labels with the annotators' names hidden: K = 1, its reliability the share of right labels expected."""
        mean = self.reliability.gather(1, self.annotator).mean(1, keepdim=True)
        return replace(self, annotator=torch.zeros_like(self.annotator), reliability=mean)

    def clean(self) -> Linear:
        """The same pairs stored in their latent order: what labels without noise would have said."""
        sign = torch.where(self.right, 1.0, -1.0).to(self.x.dtype)
        return replace(
            self,
            x=self.x * sign[:, :, None],
            right=torch.ones_like(self.right),
            reliability=torch.ones_like(self.reliability),
        )


def draw(seeds: Sequence[int], reliability: Sequence[float], *, pairs: int, features: int, norm: float) -> Linear:
    """One run a seed: ``pairs`` pairs shared evenly among annotators of the given reliability, |theta*| = ``norm``."""
    runs = [_draw_one(g, reliability, pairs, features, norm) for g in generators(seeds, 2)]
    x, truth, right = (torch.stack(parts) for parts in zip(*runs, strict=True))
    annotator = (torch.arange(pairs) % len(reliability)).expand(len(runs), -1)
    eta = torch.tensor(reliability, dtype=torch.float64).expand(len(runs), -1)
    return Linear(tuple(seeds), x, truth, annotator, right, eta)


def _draw_one(
    g: torch.Generator, reliability: Sequence[float], pairs: int, features: int, norm: float
) -> tuple[Tensor, Tensor, Tensor]:
    truth = torch.randn(features, generator=g, dtype=torch.float64)
    truth = norm * truth / truth.norm()
    x = torch.randn(pairs, features, generator=g, dtype=torch.float64)
    first = torch.rand(pairs, generator=g, dtype=torch.float64) < torch.sigmoid(x @ truth)
    eta = torch.tensor(reliability, dtype=torch.float64)[torch.arange(pairs) % len(reliability)]
    right = torch.rand(pairs, generator=g, dtype=torch.float64) < eta
    sign = torch.where(first == right, 1.0, -1.0).double()  # right keeps the latent order, wrong turns it round
    return x * sign[:, None], truth, right


def stack(worlds: Sequence[Linear]) -> Linear:
    """Worlds of equal sizes as one, run after run."""
    joined = {
        name: torch.cat([getattr(w, name) for w in worlds])
        for name in ("x", "truth", "annotator", "right", "reliability")
    }
    return Linear(seeds=tuple(seed for w in worlds for seed in w.seeds), **joined)


def sign_accuracy(theta: Tensor, truth: Tensor) -> Tensor:
    """Share of fresh pairs whose better completion theta [M, d] names, exact for x ~ N(0, I): 1 - angle / pi, [M].

    theta = 0 names neither: 1/2.
    """
    cosine = torch.nn.functional.cosine_similarity(theta, truth, dim=1)
    return 1 - torch.arccos(cosine.clamp(-1, 1)) / math.pi


def auc(score: Tensor, positive: Tensor) -> Tensor:
    """Area under the ROC curve of ``score`` [M, N] for ``positive`` [M, N] bool, by ranks, [M]; ties by order."""
    rank = score.argsort(dim=1).argsort(dim=1).to(torch.float64) + 1
    ones = positive.sum(1).to(torch.float64)
    zeros = positive.shape[1] - ones
    return ((rank * positive).sum(1) - ones * (ones + 1) / 2) / (ones * zeros)
