"""``assent eval``: how a model ranks held-out preferences, or how often a judge prefers its completions to another's."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from assent.errors import AssentError


def eval(
    model: Annotated[str, typer.Option(help="Model to evaluate: a directory, an adapter's directory or a hub id.")],
    data: Annotated[
        str, typer.Option(help="Preferences to rank, or prompts: a file, a datasets directory or a hub id.")
    ],
    objective: Annotated[
        str | None, typer.Option(help="Objective whose reward ranks; dpo(), or bradley_terry() of a reward model.")
    ] = None,
    reference: Annotated[str | None, typer.Option(help="Model that training started from.")] = None,
    judge: Annotated[
        str | None, typer.Option(help="Win rates by a judge: reward:MODEL, model:MODEL or endpoint:MODEL@URL.")
    ] = None,
    against: Annotated[
        str | None, typer.Option(help="Whom completions are compared with: a model, or a column.")
    ] = None,
    rounds: Annotated[bool, typer.Option("--rounds", help="With a judge: every round of an iterative run.")] = False,
    revisions: Annotated[
        int, typer.Option(help="With a judge: how often the model improves its own completion first.")
    ] = 0,
    samples: Annotated[int, typer.Option(help="With a judge: completions of each prompt.")] = 1,
    max_new_tokens: Annotated[int, typer.Option(help="With a judge: longest completion.")] = 256,
    temperature: Annotated[float, typer.Option(help="With a judge: temperature of sampling.")] = 1.0,
    seed: Annotated[int, typer.Option(help="With a judge: seed of sampling.")] = 0,
    diagnostics: Annotated[
        bool,
        typer.Option("--diagnostics", help="Ranking, calibration, KL, entanglement and more, each with its meaning."),
    ] = False,
    gradients: Annotated[
        str | None, typer.Option(help="With --diagnostics: last_layer (the default) or exact gradients of 32 pairs.")
    ] = None,
    out: Annotated[str | None, typer.Option(help="With --diagnostics: folder for diagnostics.json.")] = None,
    columns: Annotated[list[str] | None, typer.Option(help="Column names, old=new; may be repeated.")] = None,
    max_length: Annotated[int | None, typer.Option(help="Longest prompt with completion, in tokens.")] = None,
    batch_size: Annotated[int, typer.Option(help="Pairs scored at once.")] = 16,
    dtype: Annotated[str, typer.Option(help="Number format of the weights.")] = "auto",
    json: Annotated[bool, typer.Option("--json", help="Print one line of JSON.")] = False,
) -> None:
    """Rank held-out pairs by a policy's implicit reward or a reward model's scores; with --judge, tell how often it wins."""
    _check(diagnostics, gradients or out, judge, against or rounds or revisions)
    if judge is not None:
        _judged(model, data, judge, against, rounds, revisions, samples, (max_new_tokens, temperature, seed), columns, json,
                {"objective": objective, "reference": reference})  # fmt: skip
        return
    from assent.cli.options import renames
    from assent.evaluation import evaluate

    if diagnostics:
        _diagnosed(model, data, out, json, {
            "objective": objective, "reference": reference, "columns": renames(columns), "max_length": max_length,
            "batch_size": batch_size, "dtype": dtype, "form": gradients or "last_layer",
        })  # fmt: skip
        return
    found = evaluate(
        model, data, objective=objective, reference=reference, columns=renames(columns), max_length=max_length,
        batch_size=batch_size, dtype=dtype,
    )  # fmt: skip
    _print(found.as_dict(), json)


def _check(diagnostics: bool, looks: Any, judge: str | None, compared: Any) -> None:
    """Refuse options that are read with another one only.  looks, compared: those of --diagnostics and of --judge."""
    if not diagnostics and looks:
        raise AssentError("--gradients and --out are read with --diagnostics; give it too, or leave them out")
    if diagnostics and judge is not None:
        raise AssentError("--diagnostics looks at pairs and --judge compares completions; give one of them")
    if judge is None and compared:
        raise AssentError(
            "--against, --rounds and --revisions are for completions that a judge compares; give --judge, such as reward:MODEL"
        )


def _print(found: dict[str, Any], json: bool) -> None:
    """A ranking as one line of JSON or as a table."""
    if json:
        from assent.cli.options import json_line

        print(json_line(found))
        return
    for name, value in found.items():
        if name == "schema" or value != value:  # of the JSON; what this model or loss has none of
            continue
        whole = isinstance(value, float) and name == "labels" and value == int(value)  # a weighted count
        shown = f"{value:,.0f}" if whole else f"{value:.4f}" if isinstance(value, float) else value
        print(f"{name:<17} {shown}", file=sys.stdout)


def _diagnosed(model: str, data: str, out: str | None, json: bool, arguments: dict[str, Any]) -> None:
    from assent.cli.options import json_line
    from assent.evaluation.diagnosis import diagnose
    from assent.evaluation.diagnosis_words import words

    found = diagnose(model, data, **arguments)
    if out is not None:
        found.write(out)
    print(json_line(found.to_json()) if json else words(found))


def _judged(
    model: str, data: str, judge: str, against: str | None, rounds: bool, revisions: int, samples: int,
    drawing: tuple[int, float, int], columns: list[str] | None, json: bool, unread: dict[str, str | None],
) -> None:  # fmt: skip
    from assent.cli.options import json_line, renames
    from assent.evaluation.win_rate import curve, curve_json, win_rate, write_curve
    from assent.sampling import SamplingSettings

    for name, value in unread.items():
        if value is not None:
            raise AssentError(f"--{name} ranks pairs and is not read with --judge; leave it out")
    if (against is None) == (not rounds):
        raise AssentError(
            "a win rate needs one to compare with: give --against MODEL (or a column), or --rounds for a run"
        )
    if rounds and revisions:
        raise AssentError(
            "--revisions is for one model and is not read with --rounds; give --against MODEL in its place"
        )
    sampling = SamplingSettings(max_new_tokens=drawing[0], temperature=drawing[1], seed=drawing[2])
    options = {"samples": samples, "sampling": sampling, "columns": renames(columns)}
    if not rounds:
        rate = win_rate(model, against, data, judge, **options, revisions=revisions)
        print(json_line(rate.to_json()) if json else rate.table())
        return
    found = curve(model, data, judge, **options)
    print(f"assent: kept in {write_curve(model, found)}, where assent report reads it", file=sys.stderr)
    if json:
        print(json_line(curve_json(found)))
        return
    print("\n\n".join(f"round {number}: {one.table()}" for number, one in sorted(found.items())))
