"""``assent.train``: data, policy and objective in; a trained model's directory out."""

from __future__ import annotations

import errno
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from assent.errors import AssentError
from assent.objectives import Objective, parse
from assent.training.arguments import Settings, resolve
from assent.training.checkpoints import load_state, prepare_output, write_aside
from assent.training.interrupt import Interrupt
from assent.training.metrics import lcpo_terms
from assent.training.policy import Policy, Start, check_start, make
from assent.training.prepare import Prepared, prepare
from assent.training.progress import SHOWN, Progress, say
from assent.training.trainer import PreferenceTrainer


@dataclass(frozen=True)
class TrainResult:
    """What a run gave.

    metrics: the last training log; evaluation: the last held-out metrics.  reliability: by annotator's name, where the
    objective is LCPO.  start: step 0.  model: the trained model in memory, in evaluation mode; trainer: what trained it.
    """

    output_dir: Path
    objective: Objective
    steps: int
    rows: int
    metrics: dict[str, float]
    evaluation: dict[str, float]
    reliability: dict[str, float]
    start: Start
    alarms: tuple[str, ...]
    seconds: float
    model: Any = field(repr=False, default=None)
    tokenizer: Any = field(repr=False, default=None)
    trainer: Any = field(repr=False, default=None)

    def to_json(self) -> dict[str, Any]:
        """The result without its model, for ``--json``."""
        return {
            "schema": 1, "output_dir": str(self.output_dir), "objective": str(self.objective), "steps": self.steps,
            "rows": self.rows, "metrics": self.metrics, "evaluation": self.evaluation,
            "reliability": self.reliability, "start": self.start.to_json(), "alarms": list(self.alarms),
            "seconds": round(self.seconds, 3),
        }  # fmt: skip

    def table(self) -> str:
        """The result in a few lines."""
        lines = [f"{self.objective}: {self.steps} steps on {self.rows} rows in {self.seconds:.1f} s -> {self.output_dir}"]
        shown = [(k, v) for k, v in (self.metrics | self.evaluation).items() if k in SHOWN]
        lines += [f"  {name:<24} {value:.4g}" for name, value in shown]
        if self.reliability:
            lines.append(f"  {'annotator':<24} reliability")
            ordered = sorted(self.reliability.items(), key=lambda item: item[1])
            lines += [f"  {name:<24} {value:.3f}" for name, value in ordered[:20]]
            if len(ordered) > 20:
                lines.append(f"  ... and {len(ordered) - 20} more reliable ones")
        return "\n".join(lines + [f"  alarm: {alarm}" for alarm in self.alarms])


def train(model: Any, data: Any, objective: str | Objective, output_dir: str | Path, **arguments: Any) -> TrainResult:
    """Align ``model`` on the preferences ``data`` by minimising ``objective``; write a Hugging Face directory.

    model: a directory, a hub id, or a model in memory with ``tokenizer=``.  data: a file, a ``datasets`` directory, a hub id or
    a list of rows.  objective: an expression or an Objective.  arguments: fields of ``Settings`` and any argument of
    ``transformers.TrainingArguments``; ``resume=True`` continues the run in ``output_dir``.
    Raises AssentError for what a user can mend, before anything is written where possible; KeyboardInterrupt after a
    checkpoint was saved, with a message that says how to go on.
    """
    objective = parse(objective)
    arguments = {"model": model, "data": data, **arguments}
    settings, training = resolve(arguments, objective, str(output_dir))
    checkpoint = prepare_output(output_dir, settings.resume)
    try:
        known = load_state(checkpoint)[1] if checkpoint else ()
        prepared = prepare(settings, objective, training.seed, Path(output_dir), known)
    except BaseException:
        _remove_if_empty(Path(output_dir))
        raise
    if any(term.mode == "crossfit" for term, _ in lcpo_terms(objective)):
        from assent.training.crossfit import crossfit

        return crossfit(arguments, prepared, objective, Path(output_dir))
    return fit(arguments, prepared, objective, Path(output_dir))


def fit(arguments: Mapping[str, Any], prepared: Prepared, objective: Objective, output_dir: Path) -> TrainResult:
    """One run on prepared rows, resumed where ``output_dir`` holds a checkpoint and the settings say so."""
    started = time.time()
    settings, training = resolve(arguments, objective, str(output_dir))
    checkpoint = prepare_output(output_dir, True)
    with Interrupt() as interrupt:
        torch.manual_seed(training.seed)  # a fresh adapter is drawn alike in every run of the seed
        policy = make(settings, objective, prepared.tokenizer, prepared.all_rows)
        trainer = build(policy, prepared, objective, training, interrupt)
        for note in policy.loaded.notes:
            say(note)
        start = _start(trainer, policy, objective)
        say(start.sentence())
        if checkpoint is not None:
            say(f"resuming from {checkpoint}")
        with _full_disk(output_dir):
            trainer.run(checkpoint)
            if trainer.stopping:
                raise KeyboardInterrupt(
                    f"stopped at step {trainer.state.global_step}; everything is saved in {output_dir}: "
                    "give the same command with --resume to go on"
                )
            _save(trainer, policy, settings, output_dir)
    return _result(trainer, prepared, objective, output_dir, start, time.time() - started)


def build(
    policy: Policy, prepared: Prepared, objective: Objective, training: Any, interrupt: Interrupt
) -> PreferenceTrainer:
    """The trainer of a run, its progress on stderr."""
    from transformers import PrinterCallback, ProgressCallback

    trainer = PreferenceTrainer(
        policy.model, training, prepared.rows, scorer=policy.scorer, objective=objective,
        annotators=prepared.annotators, eval_rows=prepared.eval_rows, processing_class=prepared.tokenizer,
        interrupt=interrupt,
    )  # fmt: skip
    for callback in (PrinterCallback, ProgressCallback):  # they write to stdout
        trainer.remove_callback(callback)
    trainer.add_callback(Progress(show_bar=not training.disable_tqdm))
    return trainer


def _start(trainer: PreferenceTrainer, policy: Policy, objective: Objective) -> Start:
    """Step 0 on the first rows that will be trained on."""
    numbers = next(iter(trainer.step_sampler()))[:16]
    rows = [trainer.train_dataset[i] for i in numbers]
    return check_start(policy, objective, trainer.objective_state, rows, trainer.accelerator.autocast)


def _save(trainer: PreferenceTrainer, policy: Policy, settings: Settings, output_dir: Path) -> None:
    """The finished model's files, written aside and moved into place, weights first and the configuration last."""
    aside = output_dir / ".final"
    shutil.rmtree(aside, ignore_errors=True)
    trainer.save_model(str(aside), _internal_call=True)
    if not trainer.args.should_save:
        return
    if settings.merge:
        from assent.scoring.lora import merge_adapter

        for name in ("adapter_model.safetensors", "adapter_config.json"):
            (aside / name).unlink(missing_ok=True)
        merge_adapter(trainer.accelerator.unwrap_model(trainer.model)).save_pretrained(aside)
    (aside / "training_args.bin").unlink(missing_ok=True)  # a pickle that nothing here reads
    for path in sorted(aside.iterdir(), key=lambda p: p.name.endswith("config.json")):
        os.replace(path, output_dir / path.name)
    aside.rmdir()
    trainer.state.save_to_json(str(output_dir / "trainer_state.json"))


class _full_disk:
    """Tells a full disk in one sentence, whichever library found it, and removes what was half written."""

    def __init__(self, output_dir: Path) -> None:
        self.output_dir = output_dir

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if error is None or isinstance(error, AssentError | KeyboardInterrupt):
            return
        full = getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT)
        texts = ("No space left", "failed writing file", "file write failed", "Disk quota")
        if not full and not any(text in str(error) for text in texts):
            return
        from assent.training.checkpoints import complete

        shutil.rmtree(self.output_dir / ".final", ignore_errors=True)
        for folder in self.output_dir.glob("checkpoint-*"):
            if not complete(folder):
                shutil.rmtree(folder, ignore_errors=True)
        raise AssentError(
            f"the disk of {str(self.output_dir)!r} is full; free some space and give the same command with --resume"
        ) from None


def _remove_if_empty(folder: Path) -> None:
    """Leave no directory behind where a run was refused before it began."""
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def reliabilities(objective: Objective, state: Mapping[str, Tensor], annotators: Sequence[str]) -> dict[str, float]:
    """Reliability by annotator's name after the last step; empty without LCPO."""
    from assent.objectives.parts import within

    for _, key in lcpo_terms(objective):
        eta = within(state, key)["eta"].cpu().tolist()
        return dict(zip(annotators, eta, strict=True))
    return {}


def _result(
    trainer: PreferenceTrainer, prepared: Prepared, objective: Objective, output_dir: Path, start: Start, seconds: float
) -> TrainResult:
    history = trainer.state.log_history
    logs = [h for h in history if "loss" in h]
    held_out = [h for h in history if "eval_loss" in h]
    summary = next((h for h in reversed(history) if "train_loss" in h), {})
    metrics = (logs[-1] if logs else {}) | {k: v for k, v in summary.items() if k in ("train_loss", "train_runtime")}
    model = trainer.accelerator.unwrap_model(trainer.model)
    return TrainResult(
        output_dir, objective, trainer.state.global_step, len(prepared.rows), metrics,
        held_out[-1] if held_out else {}, reliabilities(objective, trainer.objective_state, prepared.annotators),
        start, (), seconds, model.eval(), prepared.tokenizer, trainer,
    )  # fmt: skip
