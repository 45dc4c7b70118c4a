"""``assent plan``: memory and speed of a training run, before it."""

from __future__ import annotations

from typing import Annotated

import typer

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
    from assent.cli.options import json_line, run_arguments
    from assent.training.plan import plan as predict

    arguments = run_arguments(config, context.args)
    found = predict(knobs=knobs, probe_seconds=probe_seconds, **arguments)
    print(json_line(found.to_json()) if json else found.text())
