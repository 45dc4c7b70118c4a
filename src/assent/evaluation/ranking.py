"""How a model ranks held-out pairs: the verb ``assent.evaluate``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from assent.data.reading import read
from assent.data.tokens import tokenise
from assent.errors import AssentError
from assent.objectives import Objective, RunInfo, parse, partial_sums
from assent.objectives.reduction import combine
from assent.scores import PairScores
from assent.scoring.causal_lm import CausalLMScorer
from assent.scoring.engine import prepare_all
from assent.scoring.forward import evaluating
from assent.scoring.loading import check_vocabulary, load_policy, load_reference, load_tokenizer
from assent.scoring.protocol import check_needs


@dataclass(frozen=True)
class Ranking:
    """How a model ranks pairs.

    accuracy: weighted share of labels whose order the implicit rewards name; ties of the rewards count half, and a soft
    label p counts p.  margin: mean reward gap, in nats.  chosen_logp, rejected_logp: mean nats per token.
    loss: the objective's mean, as a training step would reduce it.
    """

    pairs: int
    labels: float
    accuracy: float
    margin: float
    loss: float
    chosen_logp: float
    rejected_logp: float
    objective: str

    def as_dict(self) -> dict[str, Any]:
        """The record with its schema number, for JSON."""
        return {"schema": 1} | asdict(self)


def evaluate(
    model: str | Path,
    data: Any,
    *,
    objective: str | Objective = "dpo()",
    reference: str | Path | None = None,
    columns: Mapping[str, str] | None = None,
    max_length: int | None = None,
    batch_size: int = 16,
    dtype: str = "auto",
) -> Ranking:
    """Rank the pairs of ``data`` by the objective's implicit reward under ``model``.

    reference: needed by objectives with one (the model that training started from).
    Raises AssentError: rows that are not pairs, a reference that is missing, or one that nothing reads.
    """
    objective = parse(objective) if isinstance(objective, str) else objective
    needs_reference = any(need.kind == "reference" for need in objective.needs)
    if needs_reference and reference is None:
        raise AssentError(f"{objective} reads a reference; give the model that training started from with --reference")
    if not needs_reference and reference is not None:
        raise AssentError(f"{objective} reads no reference, but {reference} was given; leave --reference out")
    records = read(data, columns=columns)
    if records.kind != "pairs":
        raise AssentError(f"{records.source} holds {records.kind} rows; ranking needs pairs (prompt, chosen, rejected)")
    tokenizer = load_tokenizer(model)
    loaded = load_policy(model, dtype=dtype)
    check_vocabulary(loaded.model, tokenizer)
    rows = tokenise(records, tokenizer, max_length=max_length)
    second = None if reference is None else load_reference(reference, dtype=dtype)
    trees = not prepare_all(loaded.model, None if second is None else second.model)
    scorer = CausalLMScorer(loaded.model, second, rows.pad_id, trees)
    check_needs(objective, scorer)
    return rank(scorer, rows.rows, objective, annotators=rows.annotators, batch_size=batch_size)


def rank(
    scorer: CausalLMScorer,
    rows: Sequence[Any],
    objective: Objective,
    *,
    annotators: tuple[str, ...] = RunInfo().annotators,
    batch_size: int = 16,
) -> Ranking:
    """Rank token pairs with a scorer at hand; see ``evaluate``."""
    state = objective.init(RunInfo(annotators))
    totals: dict[str, Tensor] = {}
    terms: list[Any] = []
    with evaluating(scorer.model), torch.no_grad():
        for start in range(0, len(rows), batch_size):
            scores = scorer.scores(rows[start : start + batch_size])
            for name, value in _sums(scores, objective).items():
                totals[name] = totals.get(name, 0) + value
            terms.append(partial_sums(objective, scores, state))
    denominators = [sum(part[i].denominator for part in terms) for i in range(len(terms[0]))]
    loss = sum(combine(part, denominators) for part in terms)
    weight = totals["weight"].clamp_min(1e-30)
    return Ranking(
        pairs=len(rows),
        labels=float(totals["weight"]),
        accuracy=float(totals["right"] / weight),
        margin=float(totals["margin"] / weight),
        loss=float(loss),
        chosen_logp=float(totals["chosen"] / totals["chosen_tokens"]),
        rejected_logp=float(totals["rejected"] / totals["rejected_tokens"]),
        objective=str(objective),
    )


def _sums(scores: PairScores, objective: Objective) -> dict[str, Tensor]:
    """Weighted sums over a batch, in float64."""
    weight = (scores.ones() if scores.weight is None else scores.weight).double()
    target = (scores.ones() if scores.target is None else scores.target).double()
    chosen, rejected = objective.rewards(scores)
    gap = (chosen - rejected).double()
    share = torch.where(gap > 0, target, torch.where(gap < 0, 1 - target, 0.5))
    return {
        "weight": weight.sum(),
        "right": (weight * share).sum(),
        "margin": (weight * gap).sum(),
        "chosen": scores.chosen.logp.double().sum(),
        "rejected": scores.rejected.logp.double().sum(),
        "chosen_tokens": scores.chosen.length.double().sum(),
        "rejected_tokens": scores.rejected.length.double().sum(),
    }
