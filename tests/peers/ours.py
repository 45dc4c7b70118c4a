"""Our loss of the batch of world.py."""

from __future__ import annotations

from assent.objectives import parse, step_loss
from peers.world import batch, labelled_scores, pair_scores


def loss(expression: str) -> float:
    """The step's loss of the whole batch in nats; AssentError where the expression is refused."""
    objective, seen = parse(expression), batch()
    return float(step_loss(objective, labelled_scores(seen) if objective.data == "labelled" else pair_scores(seen)))
