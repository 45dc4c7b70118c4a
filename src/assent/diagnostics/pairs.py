"""What the diagnostics read of some pairs: a few columns of numbers, measured once, without gradient, on the CPU."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from assent.diagnostics.dead import identical
from assent.diagnostics.mean import Mean
from assent.diagnostics.ranking import exact_order
from assent.objectives import Objective
from assent.objectives.base import Need, PairwiseObjective
from assent.objectives.pair_weights import pair_weights
from assent.objectives.parts import REFERENCE, State, within
from assent.robust.lcpo import LCPO
from assent.scores import PairScores
from assent.scoring.forward import evaluating

REWARD = "reward"


@dataclass(frozen=True)
class PairColumns:
    """P pairs, float64: None where there is none (no reference, a reward model without log-probabilities).

    margin: chosen less rejected implicit reward of the objective, nats.  logit: log-odds that the objective gives the stored
    order, nats; the margin where it gives none.  target: P(stored order is right) as the data say.  chosen, rejected,
    ref_chosen, ref_rejected: log-probabilities, nats per sequence.  length_*: counted tokens.  identical [P] bool (``dead``).
    force: |d_w| + |d_l|, how strongly the loss moves the pair (``pair_weights``).  kl: KL(reference || policy) of the next
    token summed over the tokens of both sides, whole vocabulary, nats.
    Of J labels: pair, annotator (ints), p, label_weight, and label_right, P(the label is right) under LCPO.
    """

    margin: Tensor
    logit: Tensor
    target: Tensor
    weight: Tensor
    length_chosen: Tensor
    length_rejected: Tensor
    identical: Tensor
    pair: Tensor
    annotator: Tensor
    p: Tensor
    label_weight: Tensor
    label_right: Tensor | None = None
    chosen: Tensor | None = None
    rejected: Tensor | None = None
    ref_chosen: Tensor | None = None
    ref_rejected: Tensor | None = None
    force: Tensor | None = None
    kl: Tensor | None = None

    def __len__(self) -> int:
        return len(self.margin)

    @classmethod
    def joined(cls, parts: Sequence[PairColumns]) -> PairColumns:
        """Some batches as one; the labels' pairs are counted on."""
        found, before = {}, 0
        shifted = []
        for part in parts:
            shifted.append(part.pair + before)
            before += len(part)
        for f in fields(cls):
            values = [getattr(part, f.name) for part in parts]
            found[f.name] = None if values[0] is None else torch.cat(values)
        return cls(**{**found, "pair": torch.cat(shifted)})


def pairwise_part(objective: Objective) -> tuple[Any, str]:
    """The term of an expression that has log-odds: its LCPO term, else its first pairwise one, with its state's key."""
    terms = objective.terms()
    for kind in (LCPO, PairwiseObjective):
        for term in terms:
            if isinstance(term.objective, kind) and term.objective.data == "pairs":
                return term.objective, term.key
    return None, ""


@torch.no_grad()
def measure(
    scorer: Any, rows: Sequence[Any], objective: Objective, state: State, *, batch_size: int = 16,
    autocast: AbstractContextManager[Any] | Any = nullcontext,
) -> PairColumns:  # fmt: skip
    """Score token pairs in evaluation mode; KL to the reference too where the scorer can tell it.

    autocast: makes the context of each forward.  Raises AssentError where the scorer lacks what the objective needs.
    """
    needs = set(objective.needs)
    if scorer.reference is not None:
        needs.add(REFERENCE)
    if "kl_ref" in scorer.provides:
        needs.add(Need("kl_ref"))
    parts = []
    with evaluating(scorer.model):
        for start in range(0, len(rows), batch_size):
            batch = rows[start : start + batch_size]
            with autocast():
                scores = scorer.scores(batch, needs)
            parts.append(_columns(scores, batch, objective, state))
    return PairColumns.joined(parts)


def _columns(scores: PairScores, rows: Sequence[Any], objective: Objective, state: State) -> PairColumns:
    """The columns of one batch."""
    ones = scores.ones().detach().double().cpu()
    given = lambda x: None if x is None else x.detach().double().cpu()  # noqa: E731
    rewards = objective.rewards(scores)
    margin = given(rewards[0] - rewards[1])
    part, key = pairwise_part(objective)
    inner, logit, right = within(state, key), margin, None
    if isinstance(part, LCPO):
        logit, right = given(part.logit(scores, inner)), given(part.label_posterior(scores, inner))
    elif part is not None:
        logit = given(part.induced_logit(scores, inner))
    weight = given(scores.weight) if scores.weight is not None else torch.ones_like(margin)
    target = given(scores.target) if scores.target is not None else torch.ones_like(margin)
    sides: dict[str, Tensor | None] = {}
    if REWARD not in scores.chosen.columns:
        sides = {"chosen": given(scores.chosen.logp), "rejected": given(scores.rejected.logp)}
        sides |= {"ref_chosen": given(scores.chosen.ref_logp), "ref_rejected": given(scores.rejected.ref_logp)}
        up, down = pair_weights(objective, scores, state)
        sides |= {"force": given(up.abs() + down.abs()), "kl": _kl(scores)}
    return PairColumns(
        margin, logit, target, weight, given(scores.chosen.length), given(scores.rejected.length), identical(rows),
        **_labels(scores, ones), label_right=right, **sides,
    )  # fmt: skip


def _kl(scores: PairScores) -> Tensor | None:
    sides = [side.tokens for side in (scores.chosen, scores.rejected)]
    if any(tokens is None or tokens.kl_ref is None for tokens in sides):
        return None
    return sum(tokens.sum_rows(tokens.kl_ref.double(), len(scores)) for tokens in sides).detach().cpu()


def _labels(scores: PairScores, ones: Tensor) -> dict[str, Tensor]:
    """The labels, or one by annotator 0 for each pair where the scores carry none."""
    labels = scores.labels
    if labels is None:
        pairs = torch.arange(len(ones))
        target = ones if scores.target is None else scores.target.detach().double().cpu()
        return {"pair": pairs, "annotator": torch.zeros_like(pairs), "p": target, "label_weight": ones}
    weight = torch.ones_like(labels.p) if labels.weight is None else labels.weight
    return {
        "pair": labels.pair.cpu(), "annotator": labels.annotator.cpu(), "p": labels.p.detach().double().cpu(),
        "label_weight": weight.detach().double().cpu(),
    }  # fmt: skip


@torch.no_grad()
def group_figures(scorer: Any, rows: Sequence[Any], objective: Objective) -> dict[str, float]:
    """Share of token groups whose whole order the policy's likelihood has as the scores do, raw and per token."""
    with evaluating(scorer.model):
        scores = scorer.scores(rows, objective.needs)
    side, weight = scores.completions, scores.weight
    orders = {"ranking/exact_order": side.logp, "ranking/exact_order_normalised": side.logp / side.length}
    return {k: Mean.of(exact_order(logp, scores.score, scores.group), weight).mean for k, logp in orders.items()}


def eta_of(objective: Objective, state: Mapping[str, Tensor]) -> Tensor | None:
    """Reliabilities [K] by annotator, float64; None without LCPO."""
    part, key = pairwise_part(objective)
    return within(state, key)["eta"].detach().double().cpu() if isinstance(part, LCPO) else None
