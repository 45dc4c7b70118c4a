"""Whether the log-odds of a loss mean what they say.  LCPO rests on it: its posterior adds them to the labels' evidence.

Pairs are folded onto the side that the model favours, since which side is stored as chosen already follows the labels:
the stated probability is that of the favoured side, the seen one the share of labels that agree.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from assent.diagnostics.mean import Mean

BINS = 10


@dataclass(frozen=True)
class Bin:
    """Pairs whose favoured side is stated to be right with a probability from ``low`` to ``high``.

    stated: mean of those probabilities.  seen: share of labels that agree, with its standard error.  weight: of the pairs.
    """

    low: float
    high: float
    pairs: int
    stated: float
    seen: float
    seen_se: float
    weight: float

    def to_json(self) -> dict[str, float]:
        """The fields of the table."""
        return {name: value for name, value in asdict(self).items() if name != "weight"}


def agreement(favoured: Tensor, target: Tensor) -> Tensor:
    """Share of the labels that agree with the sign of ``favoured`` [P]: t above 0, 1 - t below, 1/2 at 0."""
    target = target.double()
    return torch.where(favoured > 0, target, torch.where(favoured < 0, 1 - target, 0.5))


def label_logit(logit: Tensor, reliability: Tensor) -> Tensor:
    """Log-odds [J] that a label of this reliability names the stored order, of the pair's log-odds [J] in nats.

    P = eta sigmoid(s) + (1 - eta) sigmoid(-s): a calibrated model of noisy labels never states more than eta.
    """
    p = reliability * torch.sigmoid(logit) + (1 - reliability) * torch.sigmoid(-logit)
    return torch.logit(p)


def reliability_diagram(logit: Tensor, target: Tensor, weight: Tensor | None = None, bins: int = BINS) -> list[Bin]:
    """Equal bins of sigmoid(|s|) from 1/2 to 1; those without pairs are left out.

    logit: s [P] in nats.  target [P]: P(stored order is right) as the data say, soft or not.
    """
    logit = logit.double()
    weight = torch.ones_like(logit) if weight is None else weight.double()
    stated, seen = torch.sigmoid(logit.abs()), agreement(logit, target)
    place = ((stated - 0.5) * 2 * bins).long().clamp_max(bins - 1)
    found = []
    for number in range(bins):
        here = (place == number) & (weight > 0)
        if here.any():
            mean, error = Mean.of(seen[here], weight[here])
            said, _ = Mean.of(stated[here], weight[here])
            edges = (0.5 + number / (2 * bins), 0.5 + (number + 1) / (2 * bins))
            found.append(Bin(*edges, int(here.sum()), said, mean, error, weight[here].sum().item()))
    return found


def expected_calibration_error(bins: Sequence[Bin]) -> float:
    """Weighted mean over bins of |stated - seen|, a difference of probabilities; NaN without bins."""
    total = sum(b.weight for b in bins)
    return sum(b.weight * abs(b.stated - b.seen) for b in bins) / total if total else float("nan")


def overconfidence(bins: Sequence[Bin]) -> float:
    """Weighted mean of stated - seen: above 0 where the log-odds promise too much."""
    total = sum(b.weight for b in bins)
    return sum(b.weight * (b.stated - b.seen) for b in bins) / total if total else float("nan")


def brier(logit: Tensor, target: Tensor, weight: Tensor | None = None) -> float:
    """Mean of (sigmoid(s) - t)^2, folded or not the same; 1/4 at s = 0 and hard labels."""
    return Mean.of((torch.sigmoid(logit.double()) - target.double()).square(), weight).mean
