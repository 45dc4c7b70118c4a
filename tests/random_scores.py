"""Random scores for tests: pairs with references, lengths, weights, soft targets and labels."""

from __future__ import annotations

import torch

from assent.scores import Column, Labels, PairScores, Scores


def pair_scores(
    pairs: int = 6,
    *,
    seed: int = 0,
    dtype: torch.dtype = torch.float64,
    reference: bool = True,
    target: bool = False,
    weight: bool = False,
    annotators: int = 0,
    scale: float = 1.0,
) -> PairScores:
    """P random pairs; log-probabilities around -6 nats, lengths 2 to 9, column "confidence" in (0, 1)."""
    generator = torch.Generator().manual_seed(seed)

    def uniform(*shape: int) -> torch.Tensor:
        return torch.rand(*shape, generator=generator, dtype=torch.float64)

    def side() -> Scores:
        logp = (-6 + scale * torch.randn(pairs, generator=generator, dtype=torch.float64)).to(dtype)
        ref = (-6 + scale * torch.randn(pairs, generator=generator, dtype=torch.float64)).to(dtype)
        length = torch.randint(2, 10, (pairs,), generator=generator).to(dtype)
        return Scores(logp.requires_grad_(), ref if reference else None, length)

    chosen, rejected = side(), side()
    labels = None
    if annotators:
        pair = torch.cat([torch.arange(pairs), torch.randint(0, pairs, (pairs // 2,), generator=generator)])
        who = torch.randint(0, annotators, (len(pair),), generator=generator)
        p = torch.where(uniform(len(pair)) < 0.7, 1.0, uniform(len(pair)))
        labels = Labels(pair, who, p.to(dtype), (uniform(len(pair)) + 0.5).to(dtype))
    return PairScores(
        chosen,
        rejected,
        weight=(uniform(pairs) + 0.5).to(dtype) if weight else None,
        target=uniform(pairs).to(dtype) if target else None,
        labels=labels,
        columns={"confidence": Column(uniform(pairs).to(dtype))},
    )
