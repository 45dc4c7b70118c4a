"""The scorer of causal language models, on packed prefix trees or on the straightforward right-padded path, the oracle."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from assent.errors import AssentError
from assent.objectives.base import Need
from assent.scores import GroupScores, PairScores, Scores, Tokens
from assent.scoring import hidden
from assent.scoring.assemble import assembled, flat, kind_of
from assent.scoring.batch import Batch, collate
from assent.scoring.engine import reference_values, values
from assent.scoring.forward import TokenValues, device_of, evaluating
from assent.scoring.heads import VALUE, Heads, mask_values
from assent.scoring.reference import Reference, SecondModel
from assent.scoring.tree import TreeBatch, pack
from assent.scoring.view_scores import graded, scored_views, views_of

EXTRAS = ("entropy", "sum_sq", "kl_ref")
"""Per-token values that need the whole next-token distribution."""


@dataclass(frozen=True)
class CausalLMScorer:
    """Log-probabilities of token pairs or token examples under a causal language model and its reference.

    model: the policy (``AutoModelForCausalLM``, with or without an adapter).  reference: None for objectives
    without one.  pad_token_id: any id of the vocabulary; it fills padded batches and is never scored.
    trees: pack rows into prefix trees; policy and reference must be ready for them (``engine.prepare``).
    token_tables: token columns by name beside "id", the token's own.  heads: the trainable parts that the run's needs ask for.
    """

    model: nn.Module
    reference: Reference | None = None
    pad_token_id: int = 0
    trees: bool = False
    token_tables: Mapping[str, Any] = field(default_factory=dict)
    heads: Heads | None = None

    @property
    def provides(self) -> frozenset[str | Need]:
        kinds: set[str | Need] = {"length", "tokens", "entropy", "sum_sq", "column", "view", "head"}
        kinds |= {Need("token_column", name) for name in ("id", *self.token_tables)}
        if self.reference is not None:
            kinds.add("reference")
            if self.reference.has_logits:
                kinds |= {"kl_ref", "mask"}
            if isinstance(self.reference, SecondModel):
                kinds.add("moving_reference")
        return frozenset(kinds)

    def on(self, model: nn.Module) -> CausalLMScorer:
        """The same scorer with another policy, such as the trainer's wrapped one."""
        return replace(self, model=model)

    def scores(self, rows: Sequence[Any], needs: Iterable[Need] | None = None) -> PairScores | Scores | GroupScores:
        """Scores of token pairs (-> PairScores), examples (-> Scores) or groups (-> GroupScores), in their order.

        One forward pass over all completions together.  ``needs`` None: sums, lengths, tokens, and the
        reference where there is one.  Weights, labels and targets are carried along; columns when needed by name.
        Raises AssentError on a mixture of row kinds, an empty batch or a missing column.
        """
        needs = self._default_needs() if needs is None else frozenset(needs)
        kinds = {need.kind for need in needs}
        kind = kind_of(rows)
        sequences, members = flat(rows, kind)
        count, views = len(sequences), views_of(rows, needs)
        for view in views:  # further sequences, each a row of its own
            sequences += view.sequences if view.scored else []
        members += [(i,) for i in range(count, len(sequences))]
        batch = self._batch(sequences, members)
        found, ref_logp = self._forward(batch, sequences, kinds)
        side = partial(_side, batch, found, ref_logp, self._token_columns(batch, sequences, needs))
        others = scored_views(views, side, count)
        if self.heads is not None:
            heads = (view for view in views if not view.scored)
            others |= {view.name: graded(view, self.model, self.heads, self.pad_token_id) for view in heads}
        return assembled(rows, kind, side, needs, others, signal=lambda view: view.log_ratio.detach())

    def _token_columns(
        self, batch: Batch | TreeBatch, sequences: Sequence[Any], needs: frozenset[Need]
    ) -> dict[str, Tensor]:
        """The needed columns of the counted tokens, [T] each; learned masks and values of states among them."""
        names = {need.name for need in needs if need.kind == "token_column"}
        found = {name: self.token_tables[name].logp(self.model, batch, sequences) for name in sorted(names - {"id"})}
        if "id" in names:
            found["id"] = batch.target
        if self.heads is not None:
            self.heads.placed(device_of(self.model), self.model.training)
        if any(need.kind == "mask" for need in needs):
            with torch.no_grad(), self.reference.using(self.model) as model:
                states = hidden.predicting(model, sequences, self.pad_token_id)
            found |= mask_values(self.heads, states)
        if any(need.kind == "head" and need.name == VALUE for need in needs):
            found[VALUE] = self.heads[VALUE](hidden.last_predicting(self.model, sequences, self.pad_token_id))
        return found

    def _default_needs(self) -> frozenset[Need]:
        return frozenset() if self.reference is None else frozenset({Need("reference")})

    def _batch(self, sequences: Sequence[Any], members: Sequence[Sequence[int]]) -> Batch | TreeBatch:
        """The sequences, of which ``members`` form a row each, padded or as trees."""
        device = device_of(self.model)
        return pack(sequences, members, device) if self.trees else collate(sequences, self.pad_token_id, device)

    def _forward(
        self, batch: Batch | TreeBatch, sequences: Sequence[Any], kinds: set[str]
    ) -> tuple[TokenValues, Tensor | None]:
        """Policy values and reference log-probabilities [T]; the reference first, before the policy has a graph."""
        from_reference = ref_logp = None
        if kinds & {"reference", "kl_ref"}:
            if self.reference is None:
                raise AssentError("a reference is needed and this scorer has none; give one when the scorer is built")
            with torch.no_grad():
                if "kl_ref" in kinds:
                    ref_logp, from_reference = reference_values(self.reference.using, self.model, batch)
                else:
                    ref_logp = self.reference.logp(self.model, batch, sequences)
        found = values(self.model, batch, kinds & set(EXTRAS), from_reference)
        return found, None if ref_logp is None else ref_logp.to(found.logp)


def starting_margin(scorer: CausalLMScorer, rows: Sequence[Any], batch_size: int = 8) -> float:
    """Largest |chosen - rejected log-ratio| over the rows, in evaluation mode, in nats per sequence.

    0 (to 1e-6 in float32, 2e-2 in bfloat16) wherever policy and reference are the same weights.
    """
    largest = 0.0
    with evaluating(scorer.model), torch.no_grad():
        for start in range(0, len(rows), batch_size):
            scores = scorer.scores(rows[start : start + batch_size], {Need("reference")})
            gap = scores.log_ratio_gap if isinstance(scores, PairScores) else scores.log_ratio
            largest = max(largest, gap.abs().max().item())
    return largest


def _side(
    batch: Batch | TreeBatch, found: TokenValues, ref_logp: Tensor | None, columns: Mapping[str, Tensor], first: int,
    last: int,
) -> Scores:  # fmt: skip
    """The scores of sequences first..last-1 of the batch; tokens lie row by row, so a side is one slice."""
    bounds = torch.cat([batch.length.new_zeros(1), batch.length.cumsum(0)])
    part = slice(int(bounds[first]), int(bounds[last]))
    row = batch.row[part] - first
    tokens = Tokens(
        row=row,
        index=batch.index[part],
        logp=found.logp[part],
        ref_logp=None if ref_logp is None else ref_logp[part],
        mask=columns["mask"][part] if "mask" in columns else None,
        columns={name: values[part] for name, values in columns.items() if name != "mask"},
        **{name: v[part] for name in EXTRAS if (v := getattr(found, name)) is not None},
    )
    count = last - first
    return Scores(
        logp=tokens.sum_rows(tokens.logp, count),
        ref_logp=None if ref_logp is None else tokens.sum_rows(tokens.ref_logp, count),
        length=batch.length[first:last],
        tokens=tokens,
    )
