"""Cross-fitted reliabilities: margins of pairs that a policy did not train on, then one run with what they say.

Contract, part 5.  Two folds by prompt; a policy per fold, from the same start with the same objective; the margins of the
other fold; maximum likelihood of one reliability per annotator and one temperature; a final run with these fixed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from assent.errors import AssentError
from assent.objectives import Objective, Sum
from assent.objectives.parts import within
from assent.robust.estimation import Estimate, estimate
from assent.robust.intervals import Intervals, intervals
from assent.robust.lcpo import LCPO
from assent.scores import Labels
from assent.scoring.forward import evaluating
from assent.training.arguments import resolve
from assent.training.batches import StepSampler, planned_steps, rows_only, split
from assent.training.caching import uncacheable
from assent.training.checkpoints import write_aside
from assent.training.metrics import lcpo_terms
from assent.training.policy import make
from assent.training.prepare import Prepared
from assent.training.progress import say
from assent.training.ranks import first_rank

SCHEMA, MARGINS, SHOWN = 1, "margins.safetensors", 20
EITHER = 1.92
"""Nats by which the labels must be likelier than their mirror image: half the 95 % quantile of chi-squared."""

PRIOR_FROM = 5
"""With this many annotators their spread is estimated too (empirical Bayes), so that few labels do not decide alone."""

Margins = Callable[[Any], Sequence[float] | Tensor]
"""The pairs that were read -> a held-out logit of the stored order for each, in nats."""


def crossfit(arguments: Mapping[str, Any], prepared: Prepared, objective: Objective, output_dir: Path) -> Any:
    """Estimate the reliabilities on held-out margins, write them to OUTPUT/crossfit, and run the final training.

    ``crossfit_scorer`` of the arguments: None or "policy" trains two folds; a function (see Margins) takes its margins instead.
    Folds that are done, and the estimate, are not made again when a run is resumed.  Gives the final run's TrainResult.
    """
    from assent.training.run import fit

    arguments = dict(arguments)
    scorer = arguments.pop("crossfit_scorer", None)
    if scorer == "text":
        raise AssentError(
            "crossfit_scorer='text' is wired by the command line; from Python pass a function from pairs to held-out logits"
        )
    term = _only_term(objective)
    folder = output_dir / "crossfit"
    steps = base_steps(arguments, prepared, objective, output_dir)
    say(announcement(term, steps, callable(scorer)))
    prepared, found = with_table(arguments, prepared, objective, output_dir), None
    for number in range(1, term.rounds + 1):
        before, found = found, _read(folder / f"round-{number}.json", prepared.annotators)
        if found is None:
            if callable(scorer):
                logit = _given(scorer, prepared)
            else:
                fixed = with_reliability(objective, before, term.start)
                logit = _fold_margins(arguments, prepared, fixed, folder, number, steps)
            found = _estimated(logit, prepared, term, number, folder)
    note = "the reliabilities were estimated on held-out margins before this run: crossfit/reliabilities.json"
    fixed = with_reliability(objective, found, term.start)
    return fit(arguments, prepared, fixed, output_dir, asked=objective, notes=(note,))


def with_table(arguments: Mapping[str, Any], prepared: Prepared, objective: Objective, output_dir: Path) -> Prepared:
    """The reference's log-probabilities of all rows, computed once for the folds, their margins and the final run."""
    settings, training = resolve(arguments, objective, str(output_dir))
    if uncacheable(objective):
        return prepared
    once = replace(settings, reference_logp="memory", cache_dir=None)
    policy = make(once, training, objective, prepared.tokenizer, prepared.all_rows)
    return replace(prepared, table=policy.scorer.reference)


def announcement(term: LCPO, steps: int, given: bool) -> str:
    """What cross-fitting is about to cost."""
    if given:
        return f"cross-fitting: margins from a text model, then {steps} steps (1 x the base run)"
    rounds = 2 * term.rounds
    plural = "" if term.rounds == 1 else f" in {term.rounds} rounds"
    return (
        f"cross-fitting: {rounds} folds of {steps} steps{plural} and a final run of {steps} steps, "
        f"{(rounds + 1) * steps} in all ({rounds + 1} x the base run)"
    )


def base_steps(arguments: Mapping[str, Any], prepared: Prepared, objective: Objective, output_dir: Path) -> int:
    """Optimiser steps of the base run; every fold gets as many."""
    _, training = resolve(arguments, objective, str(output_dir))
    rows = training.per_device_train_batch_size * training.gradient_accumulation_steps
    sampler = StepSampler(
        len(prepared.rows), rows, 0, drop_last=training.dataloader_drop_last, ranks=training.world_size
    )
    return planned_steps(training, len(sampler))


def with_reliability(objective: Objective, etas: Mapping[str, float] | None, start: float) -> Objective:
    """The objective with fixed reliabilities: ``etas`` by name, or ``start`` for all."""
    if isinstance(objective, LCPO):
        return objective.replace(reliability=dict(etas) if etas else start, start=0.9, rounds=1)
    if isinstance(objective, Sum):
        return Sum(tuple((factor, with_reliability(part, etas, start)) for factor, part in objective.parts))
    return objective


def folds(rows: Sequence[Any], seed: int) -> list[int]:
    """0 or 1 for each row: all rows of a prompt on one side, half of the prompts on each."""
    keys = []
    for row in rows:
        prompt = row.chosen.ids[: row.chosen.prompt_length].tolist()
        keys.append(hashlib.blake2b(json.dumps([seed, prompt]).encode(), digest_size=8).digest())
    ordered = sorted(set(keys))
    if len(ordered) < 2:
        raise AssentError(
            "cross-fitting needs two different prompts at least; the data hold one: use reliability='online'"
        )
    second = set(ordered[1::2])
    return [int(key in second) for key in keys]


def _only_term(objective: Objective) -> LCPO:
    terms = [term for term, _ in lcpo_terms(objective)]
    if len(terms) != 1:
        raise AssentError(f"{objective!s} holds {len(terms)} lcpo terms; cross-fitting works with one")
    return terms[0]


def _given(scorer: Margins, prepared: Prepared) -> Tensor:
    """Margins from elsewhere, for the rows that were kept."""
    logit = torch.as_tensor(scorer(prepared.records), dtype=torch.float64)
    if logit.shape != (len(prepared.records),):
        raise AssentError(
            f"the margins given to cross-fitting have shape {list(logit.shape)}; expected one for each of the "
            f"{len(prepared.records)} pairs"
        )
    return logit[[row.index for row in prepared.rows]]


def _fold_margins(
    arguments: Mapping[str, Any], prepared: Prepared, objective: Objective, folder: Path, number: int, steps: int
) -> Tensor:
    """Held-out logit of every row [P], each from the policy that did not train on its prompt."""
    from assent.training.run import fit

    _, training = resolve(arguments, objective, str(folder))
    sides = folds(prepared.rows, training.seed)
    logit = torch.full((len(sides),), torch.nan, dtype=torch.float64)
    changes = {
        "max_steps": steps, "eval_data": None, "eval_fraction": None, "eval_strategy": "no", "merge": False,
        "load_best_model_at_end": False, "push_to_hub": False, "save_total_limit": 1,
    }  # fmt: skip
    base = {k: v for k, v in arguments.items() if k not in ("eval_steps", "metric_for_best_model", "eval_on_start")}
    for fold in (0, 1):
        own = [row for row, side in zip(prepared.rows, sides, strict=True) if side == fold]
        others = [i for i, side in enumerate(sides) if side != fold]
        place = folder / (f"fold-{fold}" if number == 1 else f"round-{number}/fold-{fold}")
        margins = _read_margins(place, others)
        if margins is None:
            say(f"cross-fitting: round {number}, fold {fold}, {len(own)} pairs in {place}")
            trainer = fit(base | changes, prepared.only(own), objective, place).trainer
            margins = held_out_logits(trainer, [prepared.rows[i] for i in others])
            _write_margins(place, others, margins)
            del trainer
        logit[others] = margins
    return logit


@torch.no_grad()
def held_out_logits(trainer: Any, rows: Sequence[Any], scorer: Any = None) -> Tensor:
    """Induced logit of each row [P] under the trainer's policy, nats, in evaluation mode; scorer: another than its own."""
    ((term, key),) = lcpo_terms(trainer.objective)
    model = trainer.accelerator.unwrap_model(trainer.model)
    state, scorer, found = within(trainer.objective_state, key), (scorer or trainer.scorer).on(model), []
    with evaluating(model), trainer.accelerator.autocast():
        for batch in split(rows, trainer.args.per_device_eval_batch_size):
            found.append(term.logit(scorer.scores(batch, trainer.objective.needs), state).double().cpu())
    return torch.cat(found)


def _estimated(logit: Tensor, prepared: Prepared, term: LCPO, number: int, folder: Path) -> dict[str, float]:
    """Reliabilities by name, shown and written with their intervals."""
    content = estimated(logit, rows_only(prepared.rows).labels, prepared.annotators, term.start)
    content |= {"round": number, "fingerprint": prepared.records.fingerprint}
    table = content["annotators"]
    say(
        f"cross-fitting: noise rate {content['noise_rate']:.3f} ({content['noise_rate_low']:.3f} to "
        f"{content['noise_rate_high']:.3f}), temperature {content['temperature']:.3g}, rests on {content['rests_on']}"
    )
    if content["note"]:
        say(f"cross-fitting: {content['note']}")
    write_estimate(
        folder, content, [f"round-{number}.json"] + (["reliabilities.json"] if number == term.rounds else [])
    )
    for name, row in sorted(table.items(), key=lambda item: item[1]["reliability"])[:SHOWN]:
        say(f"  {name}: {row['reliability']:.3f} ({row['low']:.3f} to {row['high']:.3f}), {row['labels']} labels")
    return {name: row["reliability"] for name, row in table.items()}


def estimated(logit: Tensor, labels: Labels, names: Sequence[str], start: float) -> dict[str, Any]:
    """What held-out margins [P] and labels say of the annotators, with intervals: the content of ``reliabilities.json``."""
    found, limits, note = _told_apart(logit, labels, len(names), start)
    counts = torch.bincount(labels.annotator, minlength=len(names)).tolist()
    table = {
        name: {"reliability": e, "low": low, "high": high, "labels": n}
        for name, e, low, high, n in zip(
            names, found.eta.tolist(), limits.low.tolist(), limits.high.tolist(), counts, strict=True
        )
    }
    if note and found.rests_on == "model":
        table = {name: row | {"reliability": start} for name, row in table.items()}
    return {
        "schema": SCHEMA, "annotators": table, "noise_rate": found.noise_rate, "noise_rate_low": limits.noise_rate_low,
        "noise_rate_high": limits.noise_rate_high, "temperature": found.temperature, "rests_on": found.rests_on, "note": note,
        "pairs": len(logit),
    }  # fmt: skip


def write_estimate(folder: Path, content: Mapping[str, Any], files: Sequence[str]) -> None:
    """Write an estimate under each of the names."""
    text = json.dumps(content, indent=1)
    if first_rank():
        folder.mkdir(parents=True, exist_ok=True)
        for name in files:
            write_aside(folder / name, lambda path: path.write_text(text))


def _told_apart(logit: Tensor, labels: Labels, annotators: int, start: float) -> tuple[Estimate, Intervals, str]:
    """The estimate with its intervals, and a sentence where the margins must not decide which side is right.

    Margins that do not predict held-out labels leave the noise rate open; beyond 1/2 it is the mirror image, in which
    every label would be turned round.  Unless gold labels say so, most labels are taken to be right: where the interval
    of the noise rate reaches 1/2, or the mirror image is about as likely, agreement decides alone, and without it every
    reliability stays at ``start``.
    """
    prior = "fit" if annotators >= PRIOR_FROM else None
    found = estimate(logit, labels, annotators, start=start, prior=prior)
    limits = intervals(found, logit, labels)
    either = found.log_likelihood - found.mirror_log_likelihood < EITHER
    if found.rests_on == "gold" or (limits.noise_rate_high < 0.5 and not either):
        return found, limits, ""
    why = (
        f"the held-out margins do not tell right labels from wrong ones (noise rate {limits.noise_rate_low:.2f} "
        f"to {limits.noise_rate_high:.2f}, and no gold labels)"
    )
    mend = "mark some labels as gold, train the folds longer or shorter, or use reliability='audit:DIR'"
    if found.rests_on == "model":
        return found, limits, f"{why}: all reliabilities stay at {start:g}; {mend}"
    alone = estimate(None, labels, annotators, start=max(start, 0.6), prior=prior, pairs=len(logit))
    return alone, intervals(alone, None, labels), f"{why}: reliabilities rest on agreement alone; {mend}"


def _read(path: Path, annotators: tuple[str, ...]) -> dict[str, float] | None:
    """Reliabilities that an earlier start of this run has estimated."""
    if not path.is_file():
        return None
    table = json.loads(path.read_text())["annotators"]
    if set(table) != set(annotators):
        raise AssentError(f"{str(path)!r} is about other annotators than the data; choose another output directory")
    return {name: table[name]["reliability"] for name in annotators}


def _write_margins(place: Path, numbers: Sequence[int], margins: Tensor) -> None:
    from safetensors.torch import save_file

    tensors = {"row": torch.tensor(numbers), "logit": margins}
    if first_rank():
        write_aside(place / MARGINS, lambda p: save_file(tensors, str(p), metadata={"schema": str(SCHEMA)}))


def _read_margins(place: Path, numbers: Sequence[int]) -> Tensor | None:
    """The held-out margins of a fold that is done."""
    from safetensors.torch import load_file

    if not (place / MARGINS).is_file():
        return None
    tensors = load_file(str(place / MARGINS))
    if tensors["row"].tolist() != list(numbers):
        raise AssentError(f"{str(place)!r} was made from other rows than the data; choose another output directory")
    return tensors["logit"]
