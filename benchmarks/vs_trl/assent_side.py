"""Assent's half of a run, in Assent's interpreter: ``python assent_side.py SPEC.json``; one call of ``assent.train``.

Left alone, everything is as users have it; ``arguments`` of the specification switches techniques off or on.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from measure import Clock, common, digest, finish, losses


def run(spec: dict[str, Any]) -> None:
    torch.set_num_threads(spec["threads"])
    from transformers import trainer as transformers_trainer

    import assent
    import assent.training.run  # imported before memory is looked at, as TRL is

    clock = Clock(spec["model"])
    transformers_trainer.DEFAULT_CALLBACKS.append(clock)
    result = assent.train(
        spec["model"], spec["rows"], spec["objective"], spec["output"], max_length=spec["max_length"],
        **common(spec), **spec["arguments"],
    )  # fmt: skip
    tokens = digest(ids for row in result.trainer.train_dataset.rows for ids in _ids(row))
    finish(spec, losses=losses(result.trainer.state.log_history), tokens=tokens, **clock.report())


def _ids(row: Any) -> tuple[Any, Any, Any]:
    """Prompt, chosen and rejected ids of a pair."""
    chosen, rejected = row.chosen, row.rejected
    return (
        chosen.ids[: chosen.prompt_length],
        chosen.ids[chosen.prompt_length :],
        rejected.ids[rejected.prompt_length :],
    )


if __name__ == "__main__":
    run(json.loads(Path(sys.argv[1]).read_text()))
