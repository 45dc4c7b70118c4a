"""A run's looks at itself: figures of a few fixed pairs and a few completions, at a cadence, one JSON line each."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate import DistributedType
from torch import Tensor
from transformers import TrainerCallback

from assent.diagnostics.cuts import cuts_of
from assent.diagnostics.figures import figures, stands_still
from assent.diagnostics.gradients import entanglement
from assent.diagnostics.pairs import PairColumns, eta_of, group_figures, measure
from assent.errors import AssentError
from assent.training.alarms import Alarms
from assent.training.batches import Filler
from assent.training.greedy import Greedy, prompts_in
from assent.training.line_file import LineFile
from assent.training.progress import say

SCHEMA = 1
FEWEST, MOST = 8, 64
"""Pairs of a probe."""
SHARE = 50
"""A probe has one pair for so many that are trained on between two looks, so that looking costs a small share."""
ENTANGLED = 4
"""Pairs of the probe whose gradients are looked at."""


class Diagnosing(TrainerCallback):
    """Looks at the run's start, at a cadence and at its end; writes ``diagnostics.jsonl`` and ``samples.jsonl``.

    every: steps between looks; None: at each evaluation, or each epoch where nothing is held out.  prompts: how many are
    completed.  same: whether policy and reference start as the same weights.  records: what the training rows were read
    from, for buckets by source.  seconds: spent in looks so far.
    """

    def __init__(
        self, output_dir: Path, trainer: Any, alarms: Alarms, *, every: int | None = None, prompts: int = 4,
        same: bool = False, records: Any = None,
    ) -> None:  # fmt: skip
        self.trainer, self.alarms, self.every, self.same, self.records = trainer, alarms, every, same, records
        self.prompts, self.greedy = prompts, None
        self.file, self.samples = LineFile(output_dir / "diagnostics.jsonl"), LineFile(output_dir / "samples.jsonl")
        self.seconds, self.active = 0.0, False
        self.left_out: set[str] = set()

    # ---- the trainer's calls --------------------------------------------------------------------------

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        for file in (self.file, self.samples):
            file.keep(state.global_step, state.is_world_process_zero)
        self.active = True
        self._choose(args)
        if not self.file.lines:
            self.look(state)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self.every and state.global_step % self.every == 0:
            self.look(state)

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self.every is None:
            self.look(state)

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self.every is None and self.trainer.eval_dataset is None and not self.trainer.stopping:
            self.look(state)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if not self.trainer.stopping:  # a stopped run goes on later: this is not its end
            self.look(state)
        self.active = False

    # ---- what is looked at ----------------------------------------------------------------------------

    def _choose(self, args: Any) -> None:
        """Probes and prompts, the same whenever a run of these rows begins."""
        trainer = self.trainer
        between = self.every or len(trainer.step_sampler())
        if self.every is None and str(getattr(args.eval_strategy, "value", args.eval_strategy)) == "steps":
            between = max(1, int(args.eval_steps))
        trained = between * trainer.get_total_train_batch_size(args)
        self.size = min(MOST, max(FEWEST, trained // SHARE))
        held_out = [] if trainer.eval_dataset is None else trainer.eval_dataset.rows
        self.probes = {"held_out": spread(held_out, self.size), "train": spread(trainer.train_dataset.rows, self.size)}
        self.repeated = repeated_share(trainer.train_dataset.rows, held_out)
        sharded = self._sharded
        if self.prompts and sharded:
            say("no completions are kept: the model is sharded, and its ranks would have to draw in step")
        if self.prompts and not sharded and "length" in trainer.scorer.provides and not self._reward:
            found = prompts_in(held_out or trainer.train_dataset.rows, self.prompts)
            self._unless_it_cannot("completions", lambda: self._make_greedy(found))

    @property
    def _sharded(self) -> bool:
        return self.trainer.accelerator.distributed_type in (DistributedType.FSDP, DistributedType.DEEPSPEED)

    @property
    def _reward(self) -> bool:
        return "reward" in self.trainer.scorer.provides

    def _make_greedy(self, found: Sequence[Any]) -> None:
        model = self.trainer.accelerator.unwrap_model(self.trainer.model)
        self.greedy = Greedy(self.trainer.processing_class, model, found)

    def look(self, state: Any) -> None:
        """Measure, write and let the alarms read; once a step."""
        done = self.file.lines and self.file.lines[-1]["step"] == state.global_step
        if not self.active or done:
            return
        started = time.perf_counter()
        model = self.trainer.accelerator.unwrap_model(self.trainer.model)
        samples = self._samples(model, state)
        for split, rows in self.probes.items():
            if self.trainer.refresh is not None and split == "train":
                rows = spread(self.trainer.train_dataset.rows, self.size)  # they change from round to round
            if rows:
                values, tables = self._figures(split, rows, model, state)
                line = {"schema": SCHEMA, "step": state.global_step, "split": split, "values": values | samples}
                self.file.add({**line, "tables": tables}, state.is_world_process_zero)
                samples = {}  # they belong to one line
        self.seconds += time.perf_counter() - started
        if self.file.lines:
            self.alarms.on_look(self.file.lines, self.same, state)

    def _figures(
        self, split: str, rows: Sequence[Any], model: Any, state: Any
    ) -> tuple[dict[str, float], dict[str, Any]]:
        trainer = self.trainer
        scorer, objective, moved = trainer.scorer.on(model), trainer.objective, trainer.objective_state
        if not hasattr(rows[0], "rejected"):  # single completions and groups
            ordered = group_figures(scorer, rows, objective) if hasattr(rows[0], "sequences") else {}
            return {"rows": float(len(rows))} | ordered, {}
        pairs = measure(
            scorer,
            rows,
            objective,
            moved,
            batch_size=trainer.args.eval_batch_size,
            autocast=trainer.accelerator.autocast,
        )
        fixed = split == "held_out" or trainer.refresh is None
        told = [line for line in self.file.lines if line["split"] == split] if fixed else []
        cuts = cuts_of(self.records, rows) if split == "train" and self.records is not None else {}
        found = figures(
            pairs, eta=eta_of(objective, moved), annotators=trainer.annotators, cuts=cuts, before=ranked_before(told)
        )
        still, values = stands_still(pairs, stood_before(told))
        values = found.values | values
        if split == "held_out":
            values["repeated/prompts"] = self.repeated
        if state.global_step == 0 and pairs.ref_chosen is not None:
            values |= start_figures(pairs)
        if split == "train" and pairs.chosen is not None and not self._sharded:
            values |= self._entanglement(scorer, rows)
        return values, found.tables | {"probe": probe_table(pairs, rows, still)}

    def _entanglement(self, scorer: Any, rows: Sequence[Any]) -> dict[str, float]:
        found: dict[str, float] = {}

        def draw() -> None:
            state, objective = self.trainer.objective_state, self.trainer.objective
            told = entanglement(scorer, rows, objective, form="last_layer", state=state, limit=ENTANGLED).summary()
            found.update({f"entanglement/{name}": value for name, value in told.items()})

        self._unless_it_cannot("entanglement", draw)
        return found

    def _samples(self, model: Any, state: Any) -> dict[str, float]:
        found: dict[str, float] = {}

        def draw() -> None:
            records, values = self.greedy.look(self.trainer.scorer.on(model))
            for record in records:
                line = {"schema": SCHEMA, "step": state.global_step, **record}
                self.samples.add(line, state.is_world_process_zero)
            found.update(values)

        if self.greedy is not None:
            self._unless_it_cannot("completions", draw)
        return found

    def _unless_it_cannot(self, what: str, look: Any) -> None:
        """A model that cannot be looked at in this way trains all the same; a line says so once."""
        if what in self.left_out:
            return
        try:
            look()
        except (AssentError, AttributeError, RuntimeError, TypeError, ValueError) as error:
            self.left_out.add(what)
            say(f"no {what} from here on, this model does not allow it: {' '.join(str(error).split())}")


def spread(rows: Sequence[Any], most: int) -> list[Any]:
    """At most ``most`` of the rows that count, evenly spaced."""
    places = [i for i, row in enumerate(rows) if not isinstance(row, Filler)]
    taken = min(most, len(places))
    return [rows[places[i * len(places) // taken]] for i in range(taken)]


def repeated_share(train: Sequence[Any], held_out: Sequence[Any]) -> float:
    """Share of held-out rows whose prompt, in tokens, is trained on; 0 where nothing is held out."""
    if not held_out:
        return 0.0
    known = {ids.tobytes() for row in train for ids in prompts_in([row], 1)}
    return sum(ids.tobytes() in known for row in held_out for ids in prompts_in([row], 1)) / len(held_out)


def start_figures(pairs: PairColumns) -> dict[str, float]:
    """How far policy and reference are apart before the first step."""
    chosen, rejected = pairs.chosen - pairs.ref_chosen, pairs.rejected - pairs.ref_rejected
    gap = torch.cat([chosen / pairs.length_chosen, rejected / pairs.length_rejected]).abs().mean()
    return {"start/margin": (chosen - rejected).abs().max().item(), "start/gap": gap.item()}


def probe_table(pairs: PairColumns, rows: Sequence[Any], still: Tensor | None) -> dict[str, list[Any]]:
    """The probe pair by pair: its place among the rows, margin, log p(w) / p(l), whether the loss moves it."""
    table: dict[str, list[Any]] = {"pair": [int(row.index) for row in rows], "margin": pairs.margin.tolist()}
    if pairs.chosen is not None:
        table["log_ratio"] = (pairs.chosen - pairs.rejected).tolist()
    return table if still is None else table | {"still": still.tolist()}


def ranked_before(lines: Sequence[Mapping[str, Any]]) -> Tensor | None:
    """log p(w) / p(l) [P] of the first look."""
    values = lines[0]["tables"].get("probe", {}).get("log_ratio") if lines else None
    return None if values is None else torch.tensor(values, dtype=torch.float64)


def stood_before(lines: Sequence[Mapping[str, Any]]) -> Tensor | None:
    """Which pairs stood still at the last look [P] bool."""
    values = lines[-1]["tables"].get("probe", {}).get("still") if lines else None
    return None if values is None else torch.tensor(values, dtype=torch.bool)
