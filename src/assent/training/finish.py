"""The end of a run: an ordinary Hugging Face directory, its card, and what the caller gets back."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from assent.errors import AssentError
from assent.objectives import Objective
from assent.objectives.parts import within
from assent.training.arguments import Settings
from assent.training.card import CardFacts, command_line, labels_per_annotator, write_card
from assent.training.checkpoints import complete
from assent.training.metrics import lcpo_terms
from assent.training.policy import Policy, Start
from assent.training.prepare import Prepared
from assent.training.progress import SHOWN
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
        steps = f"{self.steps:,} step{'s' * (self.steps != 1)}"
        lines = [f"{self.objective}: {steps} on {self.rows:,} rows in {self.seconds:.1f} s -> {self.output_dir}"]
        shown = [(k, v) for k, v in (self.metrics | self.evaluation).items() if k in SHOWN]
        lines += [f"  {name:<24} {value:.4g}" for name, value in shown]
        if self.reliability:
            lines.append(f"  {'annotator':<24} reliability")
            ordered = sorted(self.reliability.items(), key=lambda item: item[1])
            lines += [f"  {name:<24} {value:.3f}" for name, value in ordered[:20]]
            if len(ordered) > 20:
                lines.append(f"  ... and {len(ordered) - 20} more reliable ones")
        return "\n".join(lines + [f"  warning: {alarm}" for alarm in self.alarms])


def save(trainer: PreferenceTrainer, settings: Settings, output_dir: Path) -> None:
    """The finished model's files, written aside and moved into place, weights first and the configuration last."""
    aside = output_dir / ".final"
    if trainer.args.should_save:
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
        target = output_dir / path.name
        if target.is_dir():
            shutil.rmtree(target)
        os.replace(path, target)
    aside.rmdir()
    trainer.state.save_to_json(str(output_dir / "trainer_state.json"))


def result(
    trainer: PreferenceTrainer, prepared: Prepared, objective: Objective, output_dir: Path, start: Start,
    alarms: Sequence[str], seconds: float,
) -> TrainResult:  # fmt: skip
    """Collect what a run gave."""
    history = trainer.state.log_history
    logs = [h for h in history if "loss" in h]
    held_out = [h for h in history if "eval_loss" in h]
    summary = next((h for h in reversed(history) if "train_loss" in h), {})
    metrics = (logs[-1] if logs else {}) | {k: v for k, v in summary.items() if not k.startswith(("train_s", "total"))}
    return TrainResult(
        output_dir, objective, trainer.state.global_step, len(prepared.rows), metrics,
        held_out[-1] if held_out else {}, reliabilities(objective, trainer.objective_state, prepared.annotators),
        start, tuple(alarms), seconds, trainer.accelerator.unwrap_model(trainer.model).eval(), prepared.tokenizer,
        trainer,
    )  # fmt: skip


def card(
    found: TrainResult, arguments: Mapping[str, Any], prepared: Prepared, policy: Policy, settings: Settings,
    notes: Sequence[str] = (),
) -> None:  # fmt: skip
    """Write the model card of a finished run."""
    loaded, records, asked = policy.loaded, prepared.records, dict(arguments)
    asked = {k: asked.pop(k) for k in ("model", "data", "objective", "output_dir") if k in asked} | asked
    adapted = loaded.stage != "full"
    what = {"full": "all", "fresh": "a fresh LoRA of", "continued": "an adapter of"}[loaded.stage]
    reference = policy.scorer.reference
    facts = CardFacts(
        title=found.output_dir.name or "model",
        base_model=loaded.base,
        objective=str(found.objective),
        trained=("a reward model, " if policy.reward else "")
        + f"{what} {loaded.trainable:,} parameters"
        + (", merged at the end" if settings.merge else ""),
        reference="none: the objective reads no reference" if reference is None else reference.name,
        reward=policy.reward,
        data=records.source,
        data_hash=records.fingerprint,
        rows_read=records.n_rows,
        rows_used=len(prepared.rows),
        seed=found.trainer.args.seed,
        steps=found.steps,
        seconds=found.seconds,
        command=command_line(asked),
        rows_held_out=len(prepared.eval_rows or ()),
        adapter=adapted and not settings.merge,
        start=found.start.sentence(),
        tags=[part.name for part in found.objective.walk() if part.name != "sum"],
        events=[(name, count, sentence) for name, _, count, sentence, _ in prepared.report.table()],
        annotators=labels_per_annotator(prepared.rows, prepared.annotators),
        reliability=found.reliability,
        metrics={k: v for k, v in (found.metrics | found.evaluation).items() if "reliability" not in k},
        alarms=found.alarms,
        notes=[*loaded.notes, *notes],
    )
    write_card(found.output_dir, facts)


def reliabilities(objective: Objective, state: Mapping[str, Tensor], annotators: Sequence[str]) -> dict[str, float]:
    """Reliability by annotator's name after the last step; empty without LCPO."""
    for _, key in lcpo_terms(objective):
        return dict(zip(annotators, within(state, key)["eta"].cpu().tolist(), strict=True))
    return {}


class full_disk:
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
        shutil.rmtree(self.output_dir / ".final", ignore_errors=True)
        for folder in self.output_dir.glob("checkpoint-*"):
            if not complete(folder):
                shutil.rmtree(folder, ignore_errors=True)
        raise AssentError(
            f"the disk of {str(self.output_dir)!r} is full; free some space and give the same command with --resume"
        ) from None
