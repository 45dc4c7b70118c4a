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
from assent.diagnostics.calibration import expected_calibration_error, overconfidence, reliability_diagram
from assent.errors import AssentError
from assent.objectives import Objective, RunInfo, parse, partial_sums
from assent.objectives.reduction import combine
from assent.scores import PairScores
from assent.scoring.causal_lm import CausalLMScorer
from assent.scoring.engine import prepare_all
from assent.scoring.forward import evaluating
from assent.scoring.loading import check_vocabulary, load_policy, load_reference, load_tokenizer
from assent.scoring.lora import is_adapter, require_peft, task_of
from assent.scoring.protocol import check_needs
from assent.scoring.reward import RewardScorer
from assent.scoring.reward_model import has_head
from assent.training.reward_run import reads_reward, with_scorer


@dataclass(frozen=True)
class Ranking:
    """How a model ranks pairs.

    accuracy: weighted share of labels whose order the implicit rewards name; ties of the rewards count half, and a soft
    label p counts p.  margin: mean reward gap, in nats.  chosen_reward, rejected_reward: means of its sides.
    chosen_logp, rejected_logp: mean nats per token; NaN of a reward model, which has none.
    loss: the objective's mean, as a training step would reduce it.
    calibration_error: mean |stated - seen| over bins of P(the favoured side is better), which the loss's log-odds state and the
    labels show; overconfidence: mean of stated - seen.  Both NaN where a loss has no log-odds of an order.
    """

    pairs: int
    labels: float
    accuracy: float
    margin: float
    loss: float
    chosen_logp: float
    rejected_logp: float
    objective: str
    chosen_reward: float
    rejected_reward: float
    calibration_error: float
    overconfidence: float

    def as_dict(self) -> dict[str, Any]:
        """The record with its schema number, for JSON."""
        return {"schema": 1} | asdict(self)


def evaluate(
    model: str | Path,
    data: Any,
    *,
    objective: str | Objective | None = None,
    reference: str | Path | None = None,
    columns: Mapping[str, str] | None = None,
    max_length: int | None = None,
    batch_size: int = 16,
    dtype: str = "auto",
) -> Ranking:
    """Rank the pairs of ``data`` by the objective's implicit reward under ``model``, or by the scores of a reward model.

    objective: None is ``bradley_terry()`` for the checkpoint of a reward model and ``dpo()`` for any other.
    reference: needed by objectives with one (the model that training started from).
    Raises AssentError: rows that are not pairs, a reference that is missing, or one that nothing reads; a reward model without
    a trained head.
    """
    objective = default_objective(model) if objective is None else objective
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
    loaded = load_policy(model, dtype=dtype, reward=reads_reward(objective))
    check_vocabulary(loaded.model, tokenizer)
    rows = tokenise(records, tokenizer, max_length=max_length)
    if reads_reward(objective):
        if loaded.fresh_head and loaded.adapter is None:
            raise AssentError(
                f"{model} is a causal language model without a trained reward head; train one with {objective!s} first, or "
                "rank by its implicit reward with another objective"
            )
        _, scorer = with_scorer(loaded, objective, tokenizer)
    else:
        second = None if reference is None else load_reference(reference, dtype=dtype)
        trees = not prepare_all(loaded.model, None if second is None else second.model)
        scorer = CausalLMScorer(loaded.model, second, rows.pad_id, trees)
        check_needs(objective, scorer)
    return rank(scorer, rows.rows, objective, annotators=rows.annotators, batch_size=batch_size)


def default_objective(model: str | Path) -> str:
    """The objective whose reward a checkpoint was trained for, as far as its kind tells."""
    from transformers import AutoConfig

    if is_adapter(model):
        kind = require_peft().PeftConfig.from_pretrained(str(model)).task_type
        return "bradley_terry()" if kind == task_of(reward=True) else "dpo()"
    load_tokenizer(model)  # says in words where there is no such model
    try:
        config = AutoConfig.from_pretrained(model)
    except (OSError, ValueError):
        return "dpo()"  # loading it tells what is wrong
    return "bradley_terry()" if has_head(config) else "dpo()"


def rank(
    scorer: CausalLMScorer | RewardScorer,
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
    stated: list[Tensor] = []
    with evaluating(scorer.model), torch.no_grad():
        for start in range(0, len(rows), batch_size):
            scores = scorer.scores(rows[start : start + batch_size], objective.needs)
            for name, value in _sums(scores, objective).items():
                totals[name] = totals.get(name, 0) + value
            terms.append(partial_sums(objective, scores, state))
            stated += [_stated(scores, objective, state)] if has_log_odds(objective) else []
    denominators = [sum(part[i].denominator for part in terms) for i in range(len(terms[0]))]
    loss = sum(combine(part, denominators) for part in terms)
    weight = totals["weight"].clamp_min(1e-30)
    bins = reliability_diagram(*torch.cat(stated, 1)) if stated else []
    return Ranking(
        pairs=len(rows),
        labels=float(totals["weight"]),
        accuracy=float(totals["right"] / weight),
        margin=float(totals["margin"] / weight),
        loss=float(loss),
        chosen_logp=float(totals["chosen"] / totals["chosen_tokens"]),
        rejected_logp=float(totals["rejected"] / totals["rejected_tokens"]),
        objective=str(objective),
        chosen_reward=float(totals["chosen_reward"] / weight),
        rejected_reward=float(totals["rejected_reward"] / weight),
        calibration_error=expected_calibration_error(bins),
        overconfidence=overconfidence(bins),
    )


def has_log_odds(objective: Objective) -> bool:
    """Whether the loss says how probable an order is."""
    return all(hasattr(term.objective, "induced_logit") for term in objective.terms())


def _stated(scores: PairScores, objective: Objective, state: Any) -> Tensor:
    """Log-odds of the stored order in nats, what the labels say of it, and weights, as [3, P] in float64."""
    ones = scores.ones()
    target, weight = (ones if given is None else given for given in (scores.target, scores.weight))
    return torch.stack([x.double().cpu() for x in (objective.induced_logit(scores, state), target, weight)])


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
        "chosen_reward": (weight * chosen.double()).sum(),
        "rejected_reward": (weight * rejected.double()).sum(),
        "chosen": scores.chosen.logp.double().sum(),
        "rejected": scores.rejected.logp.double().sum(),
        "chosen_tokens": scores.chosen.length.double().sum(),
        "rejected_tokens": scores.rejected.length.double().sum(),
    }
