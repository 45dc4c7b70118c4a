"""The scorer of reward models: any ``AutoModelForSequenceClassification`` with one output."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from assent.errors import AssentError
from assent.objectives.base import Need
from assent.scores import GroupScores, PairScores, Scores
from assent.scoring.assemble import assembled, flat, kind_of
from assent.scoring.batch import collate
from assent.scoring.forward import at_least_float32, causal_lm_of, device_of
from assent.scoring.view_scores import scored_views, views_of

REWARD = "reward"
"""The column that holds a sequence's score."""


@dataclass(frozen=True)
class RewardScorer:
    """Scores r(prompt, completion) of whole sequences under a reward model, in nats of its preferences.

    model: one output a sequence, with or without an adapter.  pad_token_id: the configuration's own, since models of this
    kind read their score at the last token that is not padding; where padding and EOS are one token, that is the token before
    the EOS, here as in transformers.  Rows are padded on the right.
    Raises AssentError for a model with several outputs, and for another padding token than the configuration's.
    """

    model: nn.Module
    pad_token_id: int = 0
    provides: ClassVar[frozenset[str | Need]] = frozenset({REWARD, "length", "column", "view"})
    reference: ClassVar[None] = None

    def __post_init__(self) -> None:
        config = causal_lm_of(self.model).config
        if config.num_labels != 1:
            raise AssentError(f"the reward model has {config.num_labels} outputs; expected one")
        if (own := pad_of(config)) != self.pad_token_id:
            raise AssentError(
                f"rows are padded with token {self.pad_token_id} and the reward model's pad_token_id is {own}; give the same"
            )

    def on(self, model: nn.Module) -> RewardScorer:
        """The same scorer with another model, such as the trainer's wrapped one."""
        return replace(self, model=model)

    def scores(self, rows: Sequence[Any], needs: Iterable[Need] | None = None) -> PairScores | Scores | GroupScores:
        """Scores of token pairs, examples or groups whose sides and views carry the column "reward" [C] with gradient.

        Log-probabilities are NaN: there are none, and whatever reads them is seen at once.  Lengths are those of the counted
        tokens; weights, labels and targets are carried along, columns and views when needed by name.
        Raises AssentError on a mixture of row kinds, an empty batch or a missing column.
        """
        needs = frozenset(needs or ())
        kind = kind_of(rows)
        sequences, _ = flat(rows, kind)
        count, views = len(sequences), views_of(rows, needs)
        for view in views:  # further sequences, each a row of its own
            sequences += view.sequences
        reward, length = self._forward(sequences)
        nothing = torch.full_like(reward.detach(), torch.nan)

        def side(first: int, last: int) -> Scores:
            part = slice(first, last)
            return Scores(nothing[part], length=length[part], columns={REWARD: reward[part]})

        others = scored_views(views, side, count)
        return assembled(rows, kind, side, needs, others, signal=lambda view: view.column(REWARD).detach())

    def _forward(self, sequences: Sequence[Any]) -> tuple[Tensor, Tensor]:
        """Score and number of counted tokens of each sequence, [C] each."""
        batch = collate(sequences, self.pad_token_id, device_of(self.model))
        sizes = torch.tensor([len(s.ids) for s in sequences], device=batch.ids.device)
        real = torch.arange(batch.ids.shape[1], device=batch.ids.device) < sizes[:, None]
        logits = self.model(input_ids=batch.ids, attention_mask=real.long()).logits
        return at_least_float32(logits.squeeze(-1)), batch.length


def pad_of(config: Any) -> int | None:
    """The padding token of a configuration, or of the text part of it."""
    return (config.get_text_config() if hasattr(config, "get_text_config") else config).pad_token_id
