"""``--dry-run``: what a run would do, and nothing done."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

from assent.objectives import Objective, RunInfo, parse
from assent.training.arguments import resolve, training_fields
from assent.training.batches import StepSampler, planned_steps
from assent.training.matching import with_matching
from assent.training.policy import Start, check_start, make
from assent.training.prepare import Prepared, prepare
from assent.training.source_settings import only_of_files


@dataclass(frozen=True)
class DryRun:
    """configuration: every argument that differs from transformers' default, and all of Assent's.  start: step 0."""

    objective: Objective
    configuration: dict[str, Any]
    steps: int
    start: Start
    prepared: Prepared
    first: list[Any]

    def to_json(self) -> dict[str, Any]:
        return {
            "schema": 1, "configuration": self.configuration, "steps": self.steps, "rows": len(self.prepared.rows),
            "start": self.start.to_json(), "report": self.prepared.report.to_json(),
        }  # fmt: skip

    def text(self, show: Callable[[Any, Any], str] | None = None) -> str:
        """The configuration as YAML that ``--config`` reads, step 0, and the first rows by ``show(row, tokenizer)``."""
        import yaml

        known = yaml.safe_dump(self.configuration, sort_keys=False, allow_unicode=True)
        lines = [known, f"# {self.steps} steps on {len(self.prepared.rows)} rows", f"# start: {self.start.sentence()}"]
        if show is not None:
            lines += [show(row, self.prepared.tokenizer) for row in self.first]
        return "\n".join(lines)


def dry_run(model: Any, data: Any, objective: str | Objective, output_dir: str, **arguments: Any) -> DryRun:
    """Resolve all arguments, read the data, load the models, measure step 0; write nothing."""
    objective = parse(objective)
    arguments = {"model": model, "data": data, **arguments}
    settings, training = resolve(arguments, objective, str(output_dir))
    only_of_files(settings, "a dry run")
    prepared = prepare(settings, objective, training.seed, None)
    rows = training.per_device_train_batch_size * training.gradient_accumulation_steps
    sampler = StepSampler(
        len(prepared.rows), rows, training.seed if training.data_seed is None else training.data_seed,
        shuffle=getattr(training, "train_sampling_strategy", "random") == "random", drop_last=training.dataloader_drop_last,
    )  # fmt: skip
    numbers = next(iter(sampler))
    first = [prepared.rows[i] for i in numbers]
    live = dataclasses.replace(settings, reference_logp="live", cache_dir=None)  # nothing is written
    policy = make(live, training, objective, prepared.tokenizer, first)
    prepared = with_matching(prepared, objective, policy, training)
    first = [prepared.rows[i] for i in numbers]
    state = objective.init(RunInfo(prepared.annotators))
    start = check_start(policy, objective, state, first[:16], nullcontext)
    configuration = _shown(settings, training, objective, str(output_dir))
    return DryRun(objective, configuration, planned_steps(training, len(sampler)), start, prepared, first)


def _shown(settings: Any, training: Any, objective: Objective, output_dir: str) -> dict[str, Any]:
    """All of Assent's arguments that are set, and transformers' where they differ from its defaults."""
    shown: dict[str, Any] = {}
    for f in dataclasses.fields(settings):
        value = getattr(settings, f.name)
        if value not in (None, False):
            shown[f.name] = value if isinstance(value, str | int | float | list) else f"<{type(value).__name__}>"
    shown |= {"objective": str(objective), "output_dir": output_dir}
    from assent.training.arguments import NOT_READ

    for name, f in training_fields().items():
        value = getattr(training, name)
        default = f.default if f.default is not dataclasses.MISSING else f.default_factory()
        if value == default or value == [] or (not value and not default) or name in NOT_READ or name in shown:
            continue
        plain = getattr(value, "value", value)
        if isinstance(plain, str | int | float | bool | list):
            shown[name] = plain
    return shown
