"""Alarms: plain words, once each, when a run looks as if it goes wrong, with what it means and what to try."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import TrainerCallback

from assent.diagnostics.displacement import chosen_change
from assent.diagnostics.finite import broken_rows
from assent.diagnostics.length import Moments, length_gap
from assent.diagnostics.saturation import saturated
from assent.objectives import combine, partial_sums
from assent.scores import PairScores
from assent.scoring.forward import evaluating
from assent.training import alarm_rules as rules
from assent.training.alarm_rules import Reading
from assent.training.checkpoints import write_aside
from assent.training.progress import say
from assent.training.step import all_reduce

SCHEMA = 1
FEW = 64
"""A window with fewer pairs says nothing yet: it goes on past the log."""


@dataclass(frozen=True)
class Alarm:
    """One warning: its name, the optimiser step, and the sentence that was shown."""

    name: str
    step: int
    sentence: str


class Window:
    """Sums over the pairs since the last look, kept on the device: one small vector, added over ranks when read."""

    def __init__(self) -> None:
        self.sums: Tensor | None = None

    def add(self, margin: Tensor, gap: Tensor, change: Tensor | None, weight: Tensor) -> None:
        """Pairs of weight 0 only fill up a batch and are left out."""
        real = weight > 0
        margin, gap = margin.detach()[real], gap[real]
        change = torch.full_like(margin, torch.nan) if change is None else change[real]
        parts = [Moments.of(margin, gap).values, saturated(margin).double().sum()[None]]
        parts += [(margin > 0).double().sum()[None], change.double().sum()[None], change.double().square().sum()[None]]
        self.sums = torch.cat(parts) if self.sums is None else self.sums + torch.cat(parts)

    def read(self, at_least: float = 0) -> Reading | None:
        """The window's numbers over all ranks, and it starts anew; None while it has fewer pairs than ``at_least``."""
        if self.sums is None:
            return None
        sums = all_reduce(self.sums.clone())
        if sums[0].item() < max(at_least, 1):
            return None
        self.sums = None
        moments, (settled, right, change, squares) = Moments(sums[:6]), sums[6:].tolist()
        n = moments.count
        mean = change / n
        error = math.sqrt(max(squares / n - mean * mean, 0.0) / n) if mean == mean else math.nan
        return Reading(n, moments.correlation, moments.slope, settled / n, right / n, mean, error)


LOOKS = (("falling", rules.falling_chosen), ("saturation", rules.saturation), ("length", rules.length_drift))
"""Name of an alarm and its rule, for windows of training pairs."""


class Alarms(TrainerCallback):
    """Looks at a run's windows (from one log to the next) and warns once of each thing that goes wrong.

    An observer of the trainer and one of its callbacks.  fired: the alarms so far, also in ``alarms.json`` of the run's
    directory, so that a resumed run neither forgets nor repeats them.
    """

    def __init__(self, output_dir: str | Path, trainer: Any) -> None:
        self.path, self.trainer = Path(output_dir) / "alarms.json", trainer
        self.window, self.last, self.fired = Window(), None, []
        self.first: rules.Unseen | None = None

    def __call__(self, rows: Sequence[Any], scores: Any, state: Mapping[str, Tensor]) -> None:
        """Add one micro-batch to the window."""
        if not isinstance(scores, PairScores):
            return
        with torch.no_grad():
            chosen, rejected = self.trainer.objective.rewards(scores)
            change = None if scores.chosen.ref_logp is None else chosen_change(scores)
            weight = scores.ones() if scores.weight is None else scores.weight
            self.window.add(chosen - rejected, length_gap(scores), change, weight)

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step and self.path.is_file():
            told = json.loads(self.path.read_text())["alarms"]
            self.fired = [Alarm(**alarm) for alarm in told if alarm["step"] <= state.global_step]

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        if not logs or "loss" not in logs:
            return
        reading = self.window.read(FEW)
        if reading is None:
            return
        self.last = reading
        if (state.epoch or 0.0) <= 1.0:
            self.first = rules.Unseen(reading.right, reading.pairs, "pairs met for the first time")
        for name, look in LOOKS:
            self.warn(name, look(reading), state)

    def on_evaluate(self, args: Any, state: Any, control: Any, metrics: Any = None, **kwargs: Any) -> None:
        accuracy = (metrics or {}).get("eval_rewards/accuracies")
        if self.last is not None and accuracy is not None:
            pairs = len(self.trainer.eval_dataset)
            self.warn("memorising", rules.memorising(self.last, accuracy, pairs), state)

    def on_look(self, lines: Sequence[Mapping[str, Any]], same: bool, state: Any) -> None:
        """Read what the probe showed (``diagnosing``): its first and last line of each split.

        same: whether policy and reference should start as the same weights.
        """
        split = {name: [line for line in lines if line["split"] == name] for name in ("train", "held_out")}
        held_out = split["held_out"][-1]["values"] if split["held_out"] else None
        seen = (split["train"] or split["held_out"])[-1]["values"]
        if same and state.global_step == 0:
            self.warn("mismatch", rules.mismatch(seen), state)
        if held_out is not None:
            self.warn("repeated", rules.repeated_prompts(held_out), state)
        self.warn("dead", rules.dead_pairs(seen), state)
        self.warn("entanglement", rules.entangled(seen), state)
        unseen = self.first
        if held_out is not None and "reward/accuracy" in held_out:
            unseen = rules.Unseen(held_out["reward/accuracy"], held_out["pairs"], "held-out pairs")
        self.warn("drift", rules.reliability_drift(split["train"], unseen), state)

    def warn(self, name: str, sentence: str | None, state: Any) -> None:
        """Say it on stderr and keep it, unless it was said before."""
        if sentence is None or any(alarm.name == name for alarm in self.fired):
            return
        self.fired.append(Alarm(name, state.global_step, sentence))
        say(f"warning, step {state.global_step}: {sentence}")
        if state.is_world_process_zero:
            told = {"schema": SCHEMA, "alarms": [asdict(alarm) for alarm in self.fired]}
            write_aside(self.path, lambda aside: aside.write_text(json.dumps(told, indent=1)))


def save_batch(trainer: Any, rows: Sequence[Any], output_dir: str | Path) -> Path:
    """Write the rows of a step whose loss is not finite, with their texts and what is not finite of each; gives the file.

    One JSON line a row: step, index, broken (names of fields), and the decoded sides.  Each rank writes its own rows.
    """
    rank = trainer.args.process_index
    path = Path(output_dir) / ("nonfinite_batch.jsonl" if rank == 0 else f"nonfinite_batch.rank{rank}.jsonl")
    broken = _broken(trainer, rows)
    lines = []
    for i, row in enumerate(rows):
        line = {"schema": SCHEMA, "step": trainer.state.global_step + 1, "index": row.index, "weight": row.weight}
        line["broken"] = broken.get(i, [])
        for side in ("chosen", "rejected") if hasattr(row, "chosen") else ("sequence",):
            sequence = getattr(row, side)
            line[side] = _text(trainer, sequence.ids)
            line[f"{side}_tokens"] = len(sequence.ids)
        lines.append(json.dumps(line, ensure_ascii=False))
    write_aside(path, lambda aside: aside.write_text("\n".join(lines) + "\n", encoding="utf-8"))
    return path


def _text(trainer: Any, ids: Any) -> Any:
    tokenizer = getattr(trainer, "processing_class", None)
    return [int(i) for i in ids] if tokenizer is None else tokenizer.decode([int(i) for i in ids])


def _broken(trainer: Any, rows: Sequence[Any]) -> dict[int, list[str]]:
    """Row -> what is not finite, row by row, so that one bad row does not fill its whole micro-batch."""
    found = {}
    model = trainer.accelerator.unwrap_model(trainer.model)
    with evaluating(model), torch.no_grad():
        for i, row in enumerate(rows):
            scores = trainer.scorer.on(model).scores([row], trainer.objective.needs)
            loss = None
            if trainer.objective.couples == "no":
                loss = combine(partial_sums(trainer.objective, scores, trainer.objective_state))[None]
            if names := broken_rows(scores, loss).get(0):
                found[i] = names
    return found
