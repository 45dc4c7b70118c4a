"""Cross-fitted reliabilities of a tiny world: two folds by prompt, held-out margins, one maximum-likelihood fit."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from assent.records import Pair
from assent.robust.estimation import Estimate, estimate
from assent.robust.reliability import evidence
from assent.worlds.loops import Encoded


def folds(pairs: Sequence[Pair], seed: int) -> Tensor:
    """Fold 0 or 1 of each pair [P]: all pairs of a prompt on one side, as many prompts on either."""
    prompts = sorted({str(pair.prompt) for pair in pairs})
    random.Random(seed).shuffle(prompts)
    side = {prompt: i % 2 for i, prompt in enumerate(prompts)}
    return torch.tensor([side[str(pair.prompt)] for pair in pairs])


def fitted(margin: Tensor, data: Encoded, beta: float) -> Estimate:
    """Reliabilities and one temperature from held-out margins [P] (log-ratio gaps, nats) and the labels' agreement."""
    return estimate((beta * margin).double(), data.labels(), len(data.annotators))


def label_evidence(data: Encoded, reliability: Mapping[str, float]) -> Tensor:
    """What the labels of each pair say of the stored order [P], nats, pooled."""
    labels = data.labels()
    eta = torch.tensor([reliability[name] for name in data.annotators])[labels.annotator]
    return labels.per_pair(evidence(labels.p, eta), len(data))
