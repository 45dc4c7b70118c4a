"""``assent.train``: data, policy and objective in; a trained model's directory out."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from assent.objectives import Objective, parse
from assent.training.alarms import Alarms, save_batch
from assent.training.arguments import resolve
from assent.training.batches import planned_steps
from assent.training.checkpoints import load_state, prepare_output
from assent.training.diagnosing import Diagnosing
from assent.training.extragradient import HalfSteps, check_extragradient
from assent.training.finish import TrainResult, card, full_disk, result, save
from assent.training.interrupt import Interrupt
from assent.training.live_log import LiveLog
from assent.training.look_settings import PROMPTS
from assent.training.matching import with_matching
from assent.training.metrics import lcpo_terms
from assent.training.policy import Policy, Start, check_start, make
from assent.training.prepare import Prepared, prepare
from assent.training.progress import Progress, say, tidy
from assent.training.provenance import write_labels
from assent.training.ranks import first_rank, on_first_rank
from assent.training.recorder import Recorder
from assent.training.trackers import add_trackers
from assent.training.trainer import PreferenceTrainer

__all__ = ["TrainResult", "fit", "train"]


def train(model: Any, data: Any, objective: str | Objective, output_dir: str | Path, **arguments: Any) -> TrainResult:
    """Align ``model`` on the preferences ``data`` by minimising ``objective``; write a Hugging Face directory.

    model: a directory, a hub id, or a model in memory with ``tokenizer=``.  data: a file, a ``datasets`` directory, a hub id or
    a list of rows.  objective: an expression or an Objective.  arguments: fields of ``Settings`` and any argument of
    ``transformers.TrainingArguments``; ``resume=True`` continues the run in ``output_dir``.
    Raises AssentError for what a user can mend, before anything is written where possible; KeyboardInterrupt after a
    checkpoint was saved, with a message that says how to go on.
    """
    objective, output = parse(objective), Path(output_dir)
    arguments = {"model": model, "data": data, **arguments}
    settings, training = resolve(arguments, objective, str(output))
    check_extragradient(settings, training, objective)
    checkpoint = on_first_rank(lambda: prepare_output(output, settings.resume))
    try:
        if settings.source != "file":
            from assent.training.iterate import sampled

            return sampled(arguments, objective, output)
        known = load_state(checkpoint)[1] if checkpoint else ()
        prepared = prepare(settings, objective, training.seed, output, known)
        if any(term.mode == "crossfit" for term, _ in lcpo_terms(objective)):
            from assent.training.crossfit import crossfit

            return crossfit(arguments, prepared, objective, output)
        return fit(arguments, prepared, objective, output)
    finally:
        if first_rank() and output.is_dir() and not any(output.iterdir()):
            output.rmdir()  # the run was refused before it began


def fit(
    arguments: Mapping[str, Any], prepared: Prepared, objective: Objective, output_dir: Path,
    asked: Objective | None = None, notes: Sequence[str] = (), refresh: Any = None, begin: Any = None,
) -> TrainResult:  # fmt: skip
    """One run on prepared rows, from the last complete checkpoint in ``output_dir`` where there is one.

    asked: the objective as the user wrote it, for the card.  refresh: makes the rows of every epoch (``PreferenceTrainer``).
    begin: called with the trainer before its first step; what it changes is part of the checkpoints.
    """
    started = time.time()
    settings, training = resolve(arguments, objective, str(output_dir))
    with Interrupt() as interrupt, full_disk(output_dir):
        checkpoint = on_first_rank(lambda: prepare_output(output_dir, True))
        torch.manual_seed(training.seed)  # a fresh adapter is drawn alike in every run of the seed
        policy = make(
            settings, training, objective, prepared.tokenizer, prepared.all_rows, prepared.table, prepared.tables
        )
        for note in policy.loaded.notes:
            say(note)
        prepared = with_matching(prepared, objective, policy, training, own=refresh is not None)
        trainer, alarms = build(policy, prepared, objective, training, interrupt, output_dir)
        trainer.refresh = refresh
        add_looks(trainer, alarms, policy, prepared, settings, output_dir)
        facts = {**vars(settings), "objective": str(asked or objective), "data_sha256": prepared.records.fingerprint}
        add_trackers(trainer, alarms, {**facts, "rows": len(prepared.rows), "annotators": len(prepared.annotators)})
        start = _start(trainer, policy, objective)
        say(f"start: {start.sentence()}")
        for note in start.notes:
            say(note)
        if checkpoint is not None:
            say(f"resuming from {checkpoint}")
        if told := unmoved(training, len(trainer.step_sampler())):
            say(told)
        if first_rank() and refresh is None:  # rounds that change as the run goes have no one table
            write_labels(output_dir, prepared.records, settings, training.seed)
        if begin is not None:
            begin(trainer)
        with tidy():
            trainer.run(checkpoint)
        if trainer.stopping:
            raise KeyboardInterrupt(
                f"stopped at step {trainer.state.global_step}; everything is saved in {output_dir}: "
                "give the same command with --resume to go on"
            )
        save(trainer, settings, output_dir)
        told = [alarm.sentence for alarm in alarms.fired]
        found = result(trainer, prepared, objective, output_dir, start, told, time.time() - started)
        if trainer.args.should_save:
            shown = {**arguments, "objective": str(asked or objective), "output_dir": output_dir}
            card(found, shown, prepared, policy, settings, notes)
    return found


def unmoved(training: Any, steps_per_epoch: int) -> str:
    """A sentence where the warm-up, which begins at a rate of 0, takes up the whole run; "" otherwise."""
    halves = HalfSteps(training)
    steps = halves.updates(planned_steps(training, steps_per_epoch))
    warmup = training.get_warmup_steps(steps)
    if steps > warmup or warmup == 0:
        return ""
    lost = "nothing is trained" if steps == 1 else "the rate never reaches learning_rate"
    what = ("update" if halves.on else "step") + "s" * (steps > 1)
    return f"the run has {steps} {what} and a warm-up of {warmup}, so {lost}; give warmup_steps=0 or more steps"


def build(
    policy: Policy, prepared: Prepared, objective: Objective, training: Any, interrupt: Interrupt, output_dir: Path
) -> tuple[PreferenceTrainer, Alarms]:
    """The trainer of a run with what watches it: progress on stderr, alarms, and the tables of pairs."""
    from transformers import PrinterCallback, ProgressCallback

    trainer = PreferenceTrainer(
        policy.model, training, prepared.rows, scorer=policy.scorer, objective=objective,
        annotators=prepared.annotators, eval_rows=prepared.eval_rows, processing_class=prepared.tokenizer,
        interrupt=interrupt,
    )  # fmt: skip
    trainer.on_nonfinite = partial(save_batch, trainer, output_dir=output_dir)
    for callback in (PrinterCallback, ProgressCallback):  # they write to stdout
        trainer.remove_callback(callback)
    progress = Progress(objective, held_out=prepared.eval_rows is not None, show_bar=not training.disable_tqdm)
    alarms = Alarms(output_dir, trainer)
    for watcher in (progress, Recorder(output_dir, trainer), alarms):
        trainer.observers.append(watcher)
        trainer.add_callback(watcher)
    trainer.add_callback(LiveLog(output_dir))
    return trainer, alarms


def add_looks(
    trainer: PreferenceTrainer, alarms: Alarms, policy: Policy, prepared: Prepared, settings: Any, output_dir: Path
) -> None:
    """The looks at a probe that the settings ask for."""
    if settings.diagnostics_steps == 0:
        return
    prompts = PROMPTS if settings.sample_prompts is None else settings.sample_prompts
    records = prepared.records if trainer.refresh is None else None  # rows that are made as the run goes have no source
    looks = Diagnosing(
        output_dir,
        trainer,
        alarms,
        every=settings.diagnostics_steps,
        prompts=prompts,
        same=policy.same,
        records=records,
    )
    trainer.add_callback(looks)


def _start(trainer: PreferenceTrainer, policy: Policy, objective: Objective) -> Start:
    """Step 0 on the first rows that will be trained on."""
    numbers = next(iter(trainer.step_sampler()))[:16]
    rows = [trainer.train_dataset[i] for i in numbers]
    return check_start(policy, objective, trainer.objective_state, rows, trainer.accelerator.autocast)
