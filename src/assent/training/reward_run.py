"""Runs that train a reward model: what may stand in their expression, and how the model meets its scorer."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from assent.errors import AssentError
from assent.objectives import Objective
from assent.objectives.base import Need
from assent.scoring.forward import causal_lm_of
from assent.scoring.loading import LoadedModel
from assent.scoring.protocol import check_needs
from assent.scoring.reward import RewardScorer
from assent.scoring.reward_model import settle_padding

REWARD = Need("reward")


def reads_reward(objective: Objective) -> bool:
    """Whether the expression reads a reward model's scores, so that the run trains one."""
    return REWARD in objective.needs


def check_reward(objective: Objective, source: str = "file") -> None:
    """Refuse, by name, what cannot be trained together with a reward model: all that reads log-probabilities.

    source: where the rows come from; a reward model samples none.
    """
    if not reads_reward(objective):
        return
    parts = objective.walk()[::-1]  # innermost first: name the part that asks, not its wrapper
    first = next(part for part in parts if reads_reward(part))
    for part in parts:
        more = sorted(str(need) for need in part.needs if need.kind not in RewardScorer.provides)
        if not more and (part.children() or reads_reward(part)):
            continue
        what = more[0] if more else "log-probabilities"
        raise AssentError(
            f"{part!s} reads a policy's {what} and {first!s} the score of a reward model: a run trains one or the "
            "other, so give each a run of its own"
        )
    if source != "file":
        raise AssentError(
            f"source is {source!r} and {first!s} trains a reward model, which samples nothing; leave source out"
        )


def with_scorer(loaded: LoadedModel, objective: Objective, tokenizer: Any) -> tuple[LoadedModel, RewardScorer]:
    """The reward model with its scorer; the padding token is settled in the model's configuration."""
    pad, notes = settle_padding(causal_lm_of(loaded.model), tokenizer, loaded.fresh_head)
    scorer = RewardScorer(loaded.model, pad)
    check_needs(objective, scorer)
    return replace(loaded, notes=(*loaded.notes, *notes)), scorer
