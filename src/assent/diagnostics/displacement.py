"""Displacement: the chosen completions become less likely while the margin grows.

The gradient of a margin lifts the chosen side or lowers the rejected one; where both share tokens or features, both fall.
"""

from __future__ import annotations

from torch import Tensor

from assent.scores import PairScores

ROUNDING = 1e-4
"""Nats per token by which two passes over the same weights may differ in float32."""


def chosen_change(scores: PairScores) -> Tensor:
    """log policy - log reference of the chosen side [P], nats per counted token; negative where it became less likely.

    Raises AssentError when the scores carry no reference or no length.
    """
    return scores.chosen.per_token(scores.chosen.log_ratio.detach())


def displaced_share(change: Tensor, weight: Tensor | None = None) -> Tensor:
    """Weighted share of pairs whose chosen side became less likely; ``change`` [P] as ``chosen_change`` gives it."""
    fell = (change < -ROUNDING).to(change)
    return fell.mean() if weight is None else (weight * fell).sum() / weight.sum()
