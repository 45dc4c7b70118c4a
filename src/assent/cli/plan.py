"""``assent plan``: memory and speed of a training run, before it."""

from __future__ import annotations

from typing import Annotated

import typer

from assent.errors import AssentError

CONTEXT = {"allow_extra_args": True, "ignore_unknown_options": True}


def plan(
    context: typer.Context,
    config: Annotated[str | None, typer.Option(help="YAML file with arguments, as for assent train.")] = None,
    probe_seconds: Annotated[
        float, typer.Option(help="How long operations are timed on this machine, about and at most.")
    ] = 10.0,
    knobs: Annotated[bool, typer.Option(help="Also predict the run with one argument changed.")] = True,
    json: Annotated[bool, typer.Option("--json", help="Print one line of JSON.")] = False,
) -> None:
    """Predict a training run's peak memory and speed, and say which knob to turn.

    assent plan --model M --data prefs.jsonl --objective "dpo(beta=0.1)" and any other argument of assent train.  No weight is
    read and nothing is written; --objective is dpo() unless given, --output-dir is not needed.
    """
    from assent.cli.options import json_line
    from assent.training.arguments import read_config, read_options
    from assent.training.plan import plan as predict

    arguments = (read_config(config) if config else {}) | read_options(context.args)
    for name in ("model", "data"):
        if arguments.get(name) is None:
            raise AssentError(f"--{name} is missing; give it on the command line or in --config")
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    found = predict(knobs=knobs, probe_seconds=probe_seconds, **arguments)
    print(json_line(found.to_json()) if json else found.text())
