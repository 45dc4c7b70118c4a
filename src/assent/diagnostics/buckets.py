"""Accuracy and margin by bucket: of length gap, annotator, source or difficulty.  A mean hides what a bucket shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from assent.diagnostics.calibration import agreement
from assent.diagnostics.mean import Mean

LENGTH_EDGES = (-64, -16, -4, 5, 17, 65)
"""Lower ends of the buckets of a length gap in tokens, but for the first."""
LENGTH_NAMES = ("below -64", "-64 to -17", "-16 to -5", "-4 to 4", "5 to 16", "17 to 64", "above 64")
SHOWN = 20
"""Most buckets of a cut by name; the rest are one."""


@dataclass(frozen=True)
class Bucket:
    """Some pairs: share whose margin agrees with the labels (ties half), mean margin in nats, with standard errors."""

    bucket: str
    pairs: int
    accuracy: float
    accuracy_se: float
    margin: float
    margin_se: float

    def to_json(self) -> dict[str, float | str]:
        return asdict(self)


def buckets(place: Tensor, names: Sequence[str], margin: Tensor, target: Tensor, weight: Tensor) -> list[Bucket]:
    """One bucket for each name that has pairs, in the order of ``names``.

    place [N] int: the bucket of each pair, or of each label where a pair may lie in several.  margin [N] in nats, target [N]
    P(stored order is right) as the data say, weight [N].
    """
    right, found = agreement(margin, target), []
    for number, name in enumerate(names):
        here = (place == number) & (weight > 0)
        if here.any():
            accuracy, size = Mean.of(right[here], weight[here]), Mean.of(margin[here], weight[here])
            found.append(Bucket(name, int(here.sum()), *accuracy, *size))
    return found


def length_places(gap: Tensor) -> Tensor:
    """The bucket [P] of each length gap [P], tokens of the chosen side less those of the rejected one (LENGTH_NAMES)."""
    return torch.bucketize(gap, torch.tensor(LENGTH_EDGES, dtype=gap.dtype), right=True)


def quartile_places(values: Tensor) -> tuple[Tensor, list[str]]:
    """The quartile [P] of each value, and the quartiles' names with their borders."""
    edges = torch.quantile(values.double(), torch.tensor([0.25, 0.5, 0.75], dtype=torch.float64))
    low, mid, high = (f"{e:.3g}" for e in edges.tolist())
    names = [f"up to {low}", f"{low} to {mid}", f"{mid} to {high}", f"above {high}"]
    return torch.bucketize(values.double(), edges), names


def named_places(names: Sequence[str]) -> tuple[Tensor, list[str]]:
    """The bucket [N] of each name, the commonest SHOWN - 1 by themselves in order of their size, all others in one."""
    sizes: dict[str, int] = {}
    for name in names:
        sizes[name] = sizes.get(name, 0) + 1
    order = sorted(sizes, key=lambda name: (-sizes[name], name))
    kept = order if len(order) <= SHOWN else order[: SHOWN - 1]
    place = {name: i for i, name in enumerate(kept)}
    rest = [] if len(kept) == len(order) else [f"{len(order) - len(kept)} others"]
    return torch.tensor([place.get(name, len(kept)) for name in names], dtype=torch.long), [*kept, *rest]
