"""``assent cache``: build, look at, check and clean the reference's log-probabilities on disk."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from assent.errors import AssentError, did_you_mean

CONTEXT = {"allow_extra_args": True, "ignore_unknown_options": True, "allow_interspersed_args": False}

Root = Annotated[str | None, typer.Option(help="The cache; $ASSENT_CACHE or ~/.cache/assent/reference unless given.")]
Json = Annotated[bool, typer.Option("--json", help="Print one line of JSON.")]


def cache(context: typer.Context) -> None:
    """Keep a fixed reference's log-probabilities on disk: assent cache build | info | verify | prune.

    assent cache build takes the command line of the assent train that it prepares.  info lists what is there, verify
    checks every file against its hash, prune removes damaged files and, when asked, old models or one model.
    assent cache build --help tells an action's options.
    """
    from assent.cli.guard import guarded

    actions = {"build": build, "info": info, "verify": verify, "prune": prune}
    if not context.args:
        raise AssentError(f"cache needs an action; expected {', '.join(actions)}")
    action, rest = context.args[0], context.args[1:]
    if action not in actions:
        raise AssentError(f"cache has no action {action!r}; {did_you_mean(action, actions)}")
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    settings: dict[str, Any] = {"help_option_names": ["-h", "--help"]}
    if action == "build":
        settings |= {"allow_extra_args": True, "ignore_unknown_options": True}
    app.command(name=action, context_settings=settings)(guarded(actions[action]))
    app(args=rest, prog_name=f"assent cache {action}")


def build(
    context: typer.Context,
    config: Annotated[str | None, typer.Option(help="YAML file with arguments, as for assent train.")] = None,
    cache_dir: Root = None,
    json: Json = False,
) -> None:
    """Compute the reference's log-probabilities that a training run will read.

    assent cache build --model M --data prefs.jsonl [--reference R] [--objective O]: give the options of the assent train to
    come, so that model, number format and rows are the same; --objective is dpo() unless given, --output-dir is not needed.
    """
    from assent.cli.options import json_line, run_arguments
    from assent.training.caching import prefill

    arguments = run_arguments(config, context.args)
    cache_dir = cache_dir or arguments.pop("cache_dir", None)
    cache, built = prefill(cache_dir=cache_dir, progress=_shown, **arguments)
    if sys.stderr.isatty() and built.computed:
        print(file=sys.stderr)
    if json:
        print(json_line({
            "schema": 1, "key": cache.fingerprint.key, "folder": str(cache.folder), "found": built.found,
            "computed": built.computed, "tokens": built.tokens,
        }))  # fmt: skip
        return
    print(
        f"{built.found:,} sequences were there, {built.computed:,} were computed ({built.tokens:,} tokens): {cache.folder}"
    )


def _shown(done: int, total: int) -> None:
    """Progress on a terminal."""
    if sys.stderr.isatty():
        print(f"\rassent: {done:,} of {total:,} sequences", end="", file=sys.stderr, flush=True)


def info(cache_dir: Root = None, json: Json = False) -> None:
    """List the models whose log-probabilities are kept, with their size and last use."""
    from assent.cli.options import json_line
    from assent.scoring.cache import default_root
    from assent.scoring.upkeep import survey

    root = default_root(cache_dir)
    found = survey(root)
    if json:
        print(json_line({"schema": 1, "root": str(root), "models": [one.to_json() for one in found]}))
        return
    print(f"{root}: {len(found)} models")
    for one in found:
        size = f"{one.sequences:,} sequences, {one.tokens:,} tokens, {one.bytes / 1e6:,.1f} MB in {one.shards} files"
        print(f"{one.key}  {size}, used {one.idle_days:.1f} days ago: {one.name}")
        if one.refused:
            print(f"  {len(one.refused)} files are refused: {one.refused[0]}")


def verify(
    cache_dir: Root = None,
    key: Annotated[str | None, typer.Option(help="Check one model only: the first digits of its key.")] = None,
    json: Json = False,
) -> None:
    """Check every file against its hash and its place; exit code 2 where one is refused."""
    from assent.cli.options import json_line
    from assent.scoring.cache import default_root
    from assent.scoring.upkeep import survey

    root = default_root(cache_dir)
    found = survey(root, key=key, check=True)
    refused, files = [sentence for one in found for sentence in one.refused], sum(one.shards for one in found)
    if json:
        print(json_line({"schema": 1, "root": str(root), "files": files, "refused": refused}))
    for sentence in [] if json else refused:
        print(sentence)
    if refused:
        raise AssentError(
            f"{len(refused)} files of {root} are refused; 'assent cache prune' removes them, and what they held is "
            "computed again"
        )
    if not json:
        print(f"{files} files of {len(found)} models are whole: {root}")


def prune(
    cache_dir: Root = None,
    older_than: Annotated[
        float | None, typer.Option(help="Remove models that no run used for so many days.", min=0)
    ] = None,
    key: Annotated[str | None, typer.Option(help="Remove this model only: the first digits of its key.")] = None,
    json: Json = False,
) -> None:
    """Remove damaged and abandoned files; with --key a model's values, with --older-than those long unused."""
    from assent.cli.options import json_line
    from assent.scoring.cache import default_root
    from assent.scoring.upkeep import clean

    root = default_root(cache_dir)
    removed = clean(root, older_than=older_than, key=key)
    if json:
        print(json_line({"schema": 1, "root": str(root), **removed.to_json()}))
        return
    print(
        f"{removed.models} models and {removed.files} single files were removed, {removed.bytes / 1e6:,.1f} MB: {root}"
    )
