"""assent demo: audit and align a small embedded world whose truth is known, and write what happened."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from assent.errors import AssentError

KEYS = ("seed", "methods", "single_annotator", "oracle_gap_recovered", "reliability", "single_reliability")
KEYS += ("equal_kl", "seconds")
TITLES = {
    "dpo_clean": "DPO, clean labels",
    "dpo": "DPO",
    "cdpo": "cDPO",
    "rdpo": "rDPO, told the noise rate",
    "lcpo_online": "LCPO online",
    "lcpo_crossfit": "LCPO cross-fitted",
    "lcpo_oracle": "LCPO told the truth",
}


def demo(
    seed: Annotated[int, typer.Option(min=0, help="World and runs: the same seed gives the same figures.")] = 0,
    out: Annotated[Path, typer.Option(help="Folder for the page, the figures and the world's files.")] = Path("demo"),
    as_json: Annotated[bool, typer.Option("--json", help="Print one line of JSON instead of tables.")] = False,
    workers: Annotated[
        int | None, typer.Option(min=0, help="Training processes, 0 for none but this one.  [default: one a core]")
    ] = None,
) -> None:
    """Audit and align a small language model on noisy preferences, in seven ways, where the truth is known.

    Writes demo.html, demo.json and the world itself (preferences.jsonl and the model in reference/, for `assent audit`
    and `assent train`).
    """
    directory = _folder(out)
    import torch

    from assent.evaluation.demo import demo as run
    from assent.reporting import demo_page

    torch.set_num_threads(1)  # the worker processes share the cores
    workers = min(os.cpu_count() or 1, 4) if workers is None else workers
    workers = 0 if workers == 1 else workers
    try:
        with _bars() as progress:
            result = run(seed, CONFIG, workers=workers, progress=progress, folder=directory)
    except KeyboardInterrupt:
        raise KeyboardInterrupt("interrupted; run the same command again for the whole demo") from None
    page = demo_page.write(result, directory / "demo.html")
    line = json.dumps(_finite({"schema": 1, **{key: result[key] for key in KEYS}}))
    _write(directory / "demo.json", line + "\n")
    if as_json:
        print(line)
        return
    _show(result, page)


CONFIG: Any = None
"""Constants of the demo; None means those of the published figures."""


def _folder(path: Path) -> Path:
    """The output folder, made and writable; found out before the work, not after it."""
    if path.exists() and not path.is_dir():
        raise AssentError(f"--out {path} is a file; expected a folder, made where it is missing; choose another name")
    path.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=path):
        return path


def _write(path: Path, text: str) -> None:
    descriptor, aside = tempfile.mkstemp(dir=path.parent, suffix=path.suffix)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(aside, path)


def _finite(value: Any) -> Any:
    """The value with NaN and infinities as null, as JSON wants it."""
    if isinstance(value, Mapping):
        return {key: _finite(inner) for key, inner in value.items()}
    return None if isinstance(value, float) and not abs(value) < float("inf") else value


@contextmanager
def _bars() -> Iterator[Callable[[str, int, int], None]]:
    """Progress bars on stderr, one for each part of the demo, made when it first reports."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description:<24}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as bars:
        known: dict[str, Any] = {}

        def progress(name: str, step: int, steps: int) -> None:
            if name not in known:
                known[name] = bars.add_task(name, total=steps, start=False)
            if step or steps == 1:
                bars.start_task(known[name])
            bars.update(known[name], completed=step)

        yield progress


def _show(result: Mapping[str, Any], page: Path) -> None:
    """One table of the methods, the reliabilities beside it, and where the page lies."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"true reward at a KL of {result['equal_kl']:.2f} nats per sequence, seed {result['seed']}")
    table.add_column("method")
    for column in ("true reward", "gain", "win rate", "accuracy", "KL at the end", "gain, names hidden"):
        table.add_column(column, justify="right")
    for name, title in TITLES.items():
        row, hidden = result["methods"][name], result["single_annotator"].get(name)
        figures = [f"{row['true_reward']:.2f}", f"{row['gain']:+.2f}", f"{row['win_rate']:.0%}"]
        figures += [f"{row['accuracy']:.1%}", f"{row['kl']:.2f}", f"{hidden['gain']:+.2f}" if hidden else ""]
        table.add_row(title, *figures)
    console = Console()
    console.print(table)
    given = ", ".join(f"{k} {v['estimated']:.2f} ({v['true']:.2f})" for k, v in result["reliability"].items())
    console.print(f"Reliabilities, estimated (true): {given}", highlight=False)
    share = result["oracle_gap_recovered"]["lcpo_crossfit"]
    if share is not None:
        console.print(f"Cross-fitted LCPO recovers {share:.0%} of the oracle's lead over DPO.", highlight=False)
    console.print(f"{result['seconds']:.0f} s; page: {page}", highlight=False)
