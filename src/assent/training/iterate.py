"""Runs that make their own data: rounds of sampling, judging and training, or one run on rows of its own policy."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from assent.data.prompts import Prompts, read_prompts
from assent.data.tokens import Tokenised
from assent.errors import AssentError
from assent.judges import AnnotatorPool, Judge, judge_of
from assent.objectives import Objective
from assent.records import ANONYMOUS
from assent.sampling import Texts, rounds
from assent.sampling.logged import COLUMNS, SIDES, KnownSide
from assent.sampling.rounds import Round
from assent.sampling.rows import group_rows, pair_rows, records_of
from assent.scoring.reference import Precomputed, tabulate
from assent.training.arguments import Settings, resolve
from assent.training.batches import Filler
from assent.training.checkpoints import write_aside
from assent.training.collect import check_opponent, collect, folder_of, kept, prompts_of, provenance_of
from assent.training.compare import Comparison, between, log, saved
from assent.training.extragradient import EXTRAGRADIENT, check_round
from assent.training.fresh_margins import fresh_margins
from assent.training.old_values import OLD_VALUE, old_values, reads_old_values
from assent.training.policy import load, make, tokenizer_of
from assent.training.prepare import Prepared, as_read, prepare_held_out, viewed
from assent.training.progress import say
from assent.training.ranks import first_rank, on_first_rank
from assent.training.source_settings import OWN, value_of

TRAINED, OLD = "trained.json", "old_logp"


@dataclass
class Sampled:
    """What all rounds of a run share."""

    settings: Settings
    training: Any
    objective: Objective
    output: Path
    prompts: Prompts
    judge: Judge
    tokenizer: Any
    eval_rows: Sequence[Any] | None
    annotators: tuple[str, ...]
    start: str = ""
    comparison: Comparison | None = None
    rounds: int = field(init=False)

    def __post_init__(self) -> None:
        self.rounds = value_of(self.settings, "rounds")

    def collect(self, number: int, models: Callable[[], tuple[nn.Module, Any]], place: str = "") -> Round:
        """The data of a round: found whole or sampled by the first rank, and read by the others.

        models: gives policy and reference, and is called where they are needed.  place: where the policy lies on disk.
        """
        folder, seed = folder_of(self.output, number), self.training.seed + 1000 * number
        told = {"round": number, "source": self.settings.source, "start": self.start}
        prompts, logged = prompts_of(self.prompts, self.settings, number)
        told = provenance_of(self.judge, prompts, self.settings, seed, told, logged)
        mine: list[Round] = []

        def ask() -> None:
            if (found := kept(folder, told)) is None:
                policy, reference = models()
                texts = Texts(self.tokenizer, policy)
                found = collect(
                    folder, policy, reference, texts, self.judge, prompts, self.settings, self.objective, seed, told, logged,
                    place,
                )  # fmt: skip
            mine.append(found)

        on_first_rank(ask)
        return mine[0] if mine else rounds.read(folder)

    def prepared(self, found: Round, number: int, scorer: Any = None) -> Prepared:
        """The round's rows as a run takes them.  scorer: whose value head says what the values are now; None: a fresh one."""
        objective, source = self.objective, str(folder_of(self.output, number))
        kind = "groups" if objective.data == "groups" else "pairs"
        records = records_of(found, kind, source)
        records = replace(records, report=self.prompts.report, fingerprint=self.prompts.fingerprint)
        drawn = group_rows(found) if kind == "groups" else pair_rows(found, self.annotators)
        tokens = Tokenised(
            tuple(drawn), records.report, self.annotators, kind, 0, self.settings.max_length, 0, len(drawn)
        )
        tokens = viewed(tokens, records, self.tokenizer, objective, self.training.seed)
        rows = as_read(tokens, objective)
        tables = {OLD: old_logp(found, rows)}
        if reads_old_values(objective):
            tables[OLD_VALUE] = old_values(folder_of(self.output, number), found, rows, scorer)
        return Prepared(
            rows, self.eval_rows, self.annotators, self.tokenizer, records, records.report, self.settings.max_length,
            tables=tables,
        )  # fmt: skip


def old_logp(found: Round, rows: Sequence[Any]) -> Precomputed:
    """The token column "old_logp": log-probabilities of what the tokens were drawn from, nats, by content; 0 for views."""
    known = {
        Texts.sequence(ids, made).ids.tobytes(): torch.from_numpy(made.drawn_logp).float()
        for ids, some in zip(found.prompt_ids, found.completions, strict=True)
        for made in some
    }

    def compute(sequences: Sequence[Any]) -> list[torch.Tensor]:
        return [known.get(s.ids.tobytes(), torch.zeros(int(s.mask.sum()))) for s in sequences]

    return tabulate(rows, compute, "log-probabilities of the sampling policy")


def sampled(arguments: Mapping[str, Any], objective: Objective, output: Path) -> Any:
    """Run ``--source iterative`` or ``online``; gives the TrainResult of the last policy, which lies in ``output``."""
    settings, training = resolve(arguments, objective, str(output))
    if objective.data not in ("pairs", "groups", "labelled", "completions"):
        raise AssentError(f"{objective!s} reads {objective.data}, which are not sampled; give --source file")
    check_opponent(settings, objective)
    columns = dict(c.split("=") for c in settings.columns) if settings.columns else None
    judge = (
        KnownSide()
        if settings.logged in SIDES
        else judge_of(settings.judge, cache=output / "judge.jsonl", device=training.device)
    )
    tokenizer = tokenizer_of(settings)
    names = tuple(sorted(judge.reliability)) if isinstance(judge, AnnotatorPool) else (ANONYMOUS,)
    names, eval_rows = prepare_held_out(settings, objective, tokenizer, names, training.seed)
    given = settings.adapter or settings.model
    start = str(given) if isinstance(given, str | Path) else type(given).__name__
    prompts = read_prompts(settings.data, columns, logged=COLUMNS.get(settings.logged, ()))
    comparison = Comparison.of(
        settings, training, prompts, judge=judge, tokenizer=tokenizer, output=output, start=start
    )
    run = Sampled(
        settings, training, objective, output, prompts, judge, tokenizer, eval_rows, names, start, comparison
    )  # fmt: skip
    for name, _, count, words, _ in run.prompts.report.table():
        say(f"data: {count} {name}: {words}")
    return _iterative(run, arguments) if settings.source == "iterative" else _online(run, arguments)


# ---- rounds, each a run of its own ------------------------------------------------------------------------


def _iterative(run: Sampled, arguments: Mapping[str, Any]) -> Any:
    from assent.training.run import fit

    own = {k: v for k, v in arguments.items() if k not in (*OWN, "pairing")}
    policy, found = _kept(run, arguments), None
    fresh = fresh_margins(run.objective, run.output, run.annotators)
    for number in range(run.rounds):
        last = number + 1 == run.rounds
        place = run.output if last else folder_of(run.output, number) / "policy"
        asked = own | _round_arguments(run, policy, number) | {"resume": True}
        done = folder_of(run.output, number) / TRAINED
        if not (done.exists() and not last):
            data = _collected(run, asked, number)
            notes = (f"round {number + 1} of {run.rounds}: sampled from its own policy, judged by {run.judge.name}",)
            prepared = run.prepared(data, number)
            begin = fresh and partial(fresh.take, number, prepared.rows)
            found = fit(asked, prepared, run.objective, place, notes=notes, begin=begin)
            found = _compared(
                run, number, place, found, lambda place=place: saved(run.settings, place, run.training.device)
            )
            if first_rank():
                told = {"schema": 1, "steps": found.steps, "metrics": found.metrics, "evaluation": found.evaluation}
                write_aside(done, lambda path, told=told: path.write_text(json.dumps(told, indent=1) + "\n"))
            if not last:
                found = None  # a policy in memory is no longer needed
        elif run.comparison is not None:
            run.comparison.after(
                number, str(place), lambda place=place: saved(run.settings, place, run.training.device)
            )
        policy = place
    return found


def _compared(run: Sampled, number: int, place: Path, found: Any, policy: Callable[[], nn.Module]) -> Any:
    """The result with the win rate of its policy, where one is asked for, which the metrics log of ``place`` holds too."""
    if run.comparison is None:
        return found
    rate = run.comparison.after(number, str(place), policy)
    log(found.trainer, number, rate, place)
    return replace(found, evaluation=found.evaluation | rate.metrics())


def _kept(run: Sampled, arguments: Mapping[str, Any]) -> Any:
    """Where the first policy is found again: its path, or a copy of a model in memory."""
    model = arguments["model"]
    if not isinstance(model, nn.Module):
        return model
    place = run.output / "rounds" / "start"
    if first_rank() and not (place / "config.json").exists():
        model.save_pretrained(place)
        run.tokenizer.save_pretrained(place)
    return place


def _round_arguments(run: Sampled, policy: Any, number: int) -> dict[str, Any]:
    """Model and reference of a round."""
    given = {"model": str(policy), "seed": run.training.seed + number}
    referenced = _referenced(run)
    settings = run.settings
    if number and (settings.lora_r is not None or settings.adapter is not None) and not settings.merge:
        given |= {
            "lora_r": None,
            "lora_alpha": None,
            "lora_dropout": None,
            "lora_target_modules": None,
            "adapter": None,
        }
    if (
        number
        and referenced
        and value_of(settings, "round_reference") == "start"
        and settings.reference in (None, "start")
    ):
        given["reference"] = str(_kept(run, {"model": settings.model}))
    if referenced and settings.reference_logp is None and settings.cache_dir is None:
        given["reference_logp"] = "memory"  # rows of a round are not met again
    return given


def _collected(run: Sampled, asked: Mapping[str, Any], number: int) -> Round:
    """The round's data, sampled from the policy that the round starts with."""

    def models() -> tuple[nn.Module, Any]:
        settings, training = resolve(asked, run.objective, str(run.output))
        loaded = load(settings)
        loaded.model.to(training.device)
        if run.settings.mixture is None and run.settings.opponent is None:
            return loaded.model, None
        from assent.training.caching import other_reference

        return loaded.model, other_reference(settings, loaded.model) or loaded.live_reference()

    return run.collect(number, models, str(asked["model"]))


# ---- one run on rows of its own policy ----------------------------------------------------------------------


def _online(run: Sampled, arguments: Mapping[str, Any]) -> Any:
    from assent.training.run import fit

    if run.settings.pairing in ("ranked", "disjoint"):
        raise AssentError(
            f"pairing {run.settings.pairing!r} gives rounds of different sizes; source 'online' takes best_worst or random"
        )
    own = {k: v for k, v in arguments.items() if k not in (*OWN, "pairing")} | {"resume": True}
    for name in ("num_train_epochs", "max_steps"):
        if name in arguments:
            raise AssentError(
                f"{name} is not read with source 'online': it makes one pass over each round; give rounds"
            )
    own["num_train_epochs"] = float(run.rounds)
    if _referenced(run):
        own["reference_logp"] = "live"  # its rows are not known before the run
    size = len(prompts_of(run.prompts, run.settings, 0)[0]) * (2 if run.objective.data == "labelled" else 1)
    if run.settings.logged in SIDES:
        size *= value_of(run.settings, "samples")
    settings, training = resolve(own, run.objective, str(run.output))
    check_round(training, size)
    halves = 2 if settings.update == EXTRAGRADIENT else 1  # policies of half steps are not compared
    policy = make(settings, training, run.objective, run.tokenizer, [], tables={OLD: None, OLD_VALUE: None})
    policy.model.to(training.device)
    fresh = fresh_margins(run.objective, run.output, run.annotators)
    first = run.prepared(run.collect(0, lambda: (policy.model, policy.scorer.reference)), 0)
    first = replace(first, rows=_filled(first.rows, size))
    del policy

    def refresh(number: int, trainer: Any) -> tuple[list[Any], Mapping[str, Any]]:
        if run.comparison is not None and number % halves == 0:
            between(run.comparison, number, trainer)
        model, scorer = trainer.accelerator.unwrap_model(trainer.model), trainer.scorer
        found = run.collect(number, lambda: (model, getattr(scorer, "reference", None)))
        new = run.prepared(found, number, scorer.on(model))
        if fresh:
            scorer = replace(scorer, token_tables={**scorer.token_tables, **new.tables})
            fresh.take(number, new.rows, trainer, scorer)
        return _filled(new.rows, size), new.tables

    notes = (f"{run.rounds} rounds of samples of its own policy, judged by {run.judge.name}",)
    if halves > 1:
        notes += ("extragradient: a round is half an update",)
    found = fit(own, first, run.objective, run.output, notes=notes, refresh=refresh)
    missing = [] if run.comparison is None else run.comparison.missing(run.rounds - 1)
    if gone := [number for number in missing if number % halves == 0]:
        say(
            f"rounds {', '.join(map(str, gone))} are not compared: their policies moved on before eval_prompts were given"
        )
    return _compared(run, run.rounds - 1, run.output, found, lambda: found.model)


def _referenced(run: Sampled) -> bool:
    return any(need.kind == "reference" for need in run.objective.needs)


def _filled(rows: Sequence[Any], size: int) -> list[Any]:
    """As many rows in every round: rows of weight 0 stand for prompts that gave none."""
    return [*rows, *(Filler(rows[0]) for _ in range(size - len(rows)))][:size]
