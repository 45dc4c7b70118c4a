"""The command line: one file a verb, each imported when it is called for.

Exit codes: 0 done; 2 a mistake that the user can mend, told in one sentence; 130 interrupted.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module

VERBS = {
    "demo": "Audit and align a small embedded world with known truth; write its report.",
    "inspect": "Show what a preference file means: tokens, masks, and every drop and repair.",
    "audit": "Tell how far preference data can be trusted, label by label.",
    "train": "Align a model on preferences, noise included.",
    "eval": "Tell how a model ranks held-out preferences.",
    "plan": "Predict a training run's memory and speed, and say which knob to turn.",
    "cache": "Keep a reference's log-probabilities on disk: build, info, verify, prune.",
    "objectives": "List every objective and wrapper, or write their pages.",
    "explain": "Explain one objective: formula, fields, limits, and its curve.",
    "logic": "Read losses as formulas: show one, compare two, draw their lattice.",
    "report": "Write one HTML page about training runs.",
    "papers": "List the papers that have a page here, and how far each is shown to work.",
    "reproduce": "Check the statements of a paper on small worlds.",
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one verb; ends the process with its exit code."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(_overview())
        raise SystemExit(0 if arguments else 2)
    verb, rest = arguments[0], arguments[1:]
    if verb in ("--version", "version"):
        from assent._version import __version__

        print(f"assent {__version__}")
        raise SystemExit(0)
    if verb not in VERBS:
        from assent.cli.guard import stop
        from assent.errors import did_you_mean

        stop(f"there is no verb {verb!r}; {did_you_mean(verb, VERBS)}")
    _run(verb, rest)


def _run(verb: str, arguments: Sequence[str]) -> None:
    """Build the verb's command and run it."""
    import typer

    from assent.cli.guard import guarded, stop

    module = import_module(f"assent.cli.{verb}")
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    settings = {"help_option_names": ["-h", "--help"]} | getattr(module, "CONTEXT", {})
    app.command(name=verb, context_settings=settings)(guarded(getattr(module, verb)))
    try:
        code = app(args=list(arguments), prog_name=f"assent {verb}", standalone_mode=False)
    except Exception as error:
        if not hasattr(error, "format_message"):  # what typer and click have in common: a word that no option reads
            raise
        stop(f"{error.format_message().rstrip('.')}; assent {verb} --help tells the options")
    raise SystemExit(code if isinstance(code, int) else 0)


def _overview() -> str:
    width = max(map(len, VERBS))
    lines = [f"  {verb:<{width}}  {text}" for verb, text in VERBS.items()]
    first = "assent: learn what people agree on from the preferences they recorded"
    last = "assent VERB --help tells a verb's options; assent --version the version."
    return "\n".join([first, "", *lines, "", last])
