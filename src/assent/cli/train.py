"""``assent train``: align a model on preferences, noise included."""

from __future__ import annotations

import inspect
import json
from dataclasses import MISSING, fields
from pathlib import Path
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
    arguments |= read_options(_words(given) + list(context.args))
    for name in ("model", "data", "objective", "output_dir"):
        if arguments.get(name) is None:
            raise AssentError(f"--{name.replace('_', '-')} is missing; give it on the command line or in --config")
    if arguments.get("crossfit_scorer") == "text":
        arguments["crossfit_scorer"] = _text_margins
    if dry_run:
        _dry_run(arguments, as_json)
        return
    from assent.training.run import train as run

    result = run(**arguments)
    if as_json:
        print(_line(result.to_json()))
    else:
        print(result.table())


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
    from assent.training.dry import dry_run

    plan = dry_run(**arguments)
    print(_line(plan.to_json()) if as_json else plan.text())


def _text_margins(records: Any) -> Any:
    """Held-out logits of the pairs from the audit's text model."""
    from assent.auditing.text import held_out_logits

    return held_out_logits(records)


def _line(value: Any) -> str:
    return json.dumps(_no_nan(value), ensure_ascii=True, allow_nan=False)


def _no_nan(value: Any) -> Any:
    """NaN and infinities as null, which JSON has no numbers for."""
    if isinstance(value, dict):
        return {k: _no_nan(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_no_nan(v) for v in value]
    if isinstance(value, float) and not (value == value and abs(value) != float("inf")):
        return None
    return str(value) if isinstance(value, Path) else value


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
