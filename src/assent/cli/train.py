"""``assent train``: align a model on preferences, noise included."""

from __future__ import annotations

import inspect
import sys
from dataclasses import MISSING, fields
from typing import Any

import typer

from assent.errors import AssentError
from assent.training.arguments import Settings, read_config, read_options

CONTEXT = {"allow_extra_args": True, "ignore_unknown_options": True}


def train(context: typer.Context, **given: Any) -> None:
    """Align a model on preferences, noise included.  Every training argument of transformers is accepted as well.

    assent train --model M --data prefs.jsonl --objective "lcpo(dpo(beta=0.1))" --output-dir out --learning-rate 1e-6
    """
    as_json, config, dry_run = given.pop("json"), given.pop("config"), given.pop("dry_run")
    arguments = read_config(config) if config else {}
    arguments |= read_options(_words(given)) | read_options(context.args)
    for name in ("model", "data", "objective", "output_dir"):
        if arguments.get(name) is None:
            raise AssentError(f"--{name.replace('_', '-')} is missing; give it on the command line or in --config")
    if arguments.get("crossfit_scorer") == "text":
        arguments["crossfit_scorer"] = TextMargins()
    if dry_run:
        _dry_run(arguments, as_json)
        return
    from assent.cli.options import json_line
    from assent.training.progress import plain_lines
    from assent.training.ranks import first_rank
    from assent.training.run import train as run

    _quiet(arguments)
    if as_json:
        plain_lines()
    result = run(**arguments)
    if first_rank():
        print(json_line(result.to_json()) if as_json else result.table())


def _quiet(arguments: dict[str, Any]) -> None:
    """transformers' own bars and remarks would drown the run's; --log-level brings them back."""
    if arguments.get("log_level") is None:
        from transformers.utils import logging

        logging.set_verbosity_error()
        logging.disable_progress_bar()


def _words(given: dict[str, Any]) -> list[str]:
    """Typer's values as the words they came from, so that there is one reader for all arguments."""
    words: list[str] = []
    for name, value in given.items():
        if value is True:
            words.append(f"--{name}")
        elif isinstance(value, list):
            words += [f"--{name}={v}" for v in value]
        elif value is not None and value is not False:
            words.append(f"--{name}={value}")
    return words


def _dry_run(arguments: dict[str, Any], as_json: bool) -> None:
    from assent.cli.options import json_line
    from assent.data.inspection import show
    from assent.training.dry import dry_run

    _quiet(arguments)
    plan = dry_run(**arguments)
    if as_json:
        print(json_line(plan.to_json()))
        return
    print(plan.text(lambda row, tokenizer: show(row, tokenizer, colour=sys.stdout.isatty())))


class TextMargins:
    """Held-out logits [P] of the pairs, in nats, from the audit's text model, which knows nothing of the policy."""

    def __repr__(self) -> str:
        return "'text'"  # as the user wrote it: messages and the model card show it

    def __call__(self, records: Any) -> Any:
        from assent.auditing.em import fit_text
        from assent.auditing.features import pair_features
        from assent.auditing.table import from_records

        table = from_records(records)
        return fit_text(table, pair_features(table)).logit


def _signature() -> inspect.Signature:
    """The options that ``--help`` lists: Assent's own, from the fields of Settings; transformers' come as extra words."""
    keyword = inspect.Parameter.KEYWORD_ONLY
    parameters = [inspect.Parameter("context", keyword, annotation=typer.Context)]
    own = [(f.name, f.metadata["help"], f.type, f.default) for f in fields(Settings)]
    own.insert(3, ("output_dir", "where the model, its checkpoints and its card are written", "str | None", None))
    extra = [
        ("config", "YAML file with any of these arguments, one 'name: value' a line", "str | None", None),
        ("dry_run", "print the resolved configuration, step 0 and the first rows; train nothing", "bool", False),
        ("json", "print the result as one JSON line on stdout", "bool", False),
    ]
    for name, text, kind, default in own + extra:
        shown = "" if default in (None, False, MISSING) else f" [default: {default}]"
        option = f"--{name.replace('_', '-')}"
        annotation: Any = bool if kind == "bool" else list[str] | None if "list" in str(kind) else str | None
        value = typer.Option(False if kind == "bool" else None, option, help=text + shown, show_default=False)
        parameters.append(inspect.Parameter(name, keyword, default=value, annotation=annotation))
    return inspect.Signature(parameters)


train.__signature__ = _signature()  # type: ignore[attr-defined]
train.__annotations__ = {p.name: p.annotation for p in train.__signature__.parameters.values()}  # type: ignore[attr-defined]
