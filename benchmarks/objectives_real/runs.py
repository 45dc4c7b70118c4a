"""What both parts share: the language model, the prompts of each split, and CSV files that a stopped run goes on from."""

from __future__ import annotations

import argparse
import csv
import io
import os
import random
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import real_training

MODEL_SEED = 100
"""The language model is that of docs/results/real_data.md, part c."""

TRAIN_PAIRS = 2000


def arguments(summary: str) -> argparse.ArgumentParser:
    """The command line of a part; ``--data`` and ``--work`` lie outside the repository."""
    parser = argparse.ArgumentParser(description=summary)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--work", type=Path, required=True, help="folder of the language model, features and runs")
    parser.add_argument("--csv", type=Path, required=True, help="one row a finished run; runs that are in it are kept")
    return parser


def language_model(options: argparse.Namespace) -> Path | None:
    """The folder of the small language model and its pairs, made where they are missing; None without the data."""
    source = options.data / "alpaca_eval_judgements.parquet"
    if not source.is_file():
        print(f"skipped: {source} is absent (real preference data are not part of the repository)", file=sys.stderr)
        return None
    options.work.mkdir(parents=True, exist_ok=True)
    given = argparse.Namespace(
        data=options.data, out=options.work, pairs=3000, seed=MODEL_SEED, lm_tokens=real_training.LM_TOKENS
    )
    real_training.stage(options.work / "pairs.json", lambda: real_training.prepare(source, given))
    real_training.stage(options.work / "base.json", lambda: real_training.train_base(given))
    return options.work / "base"


def splits(work: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]], list[dict[str, Any]]]:
    """Training pairs, validation pairs and held-out pairs; no prompt is in two of them.

    The language model has read answers to the prompts of the first two, without judgements, and none of the third's.
    """
    pairs, held_out = (real_training._read(work / f"{name}.jsonl") for name in ("clean", "held_out"))
    prompts = sorted({p["prompt"] for p in pairs})
    random.Random(MODEL_SEED).shuffle(prompts)
    chosen: set[str] = set()
    for prompt in prompts:
        if sum(p["prompt"] in chosen for p in pairs) >= TRAIN_PAIRS:
            break
        chosen.add(prompt)
    train = [p for p in pairs if p["prompt"] in chosen][:TRAIN_PAIRS]
    return train, [p for p in pairs if p["prompt"] not in chosen], held_out


def flipped(pairs: Sequence[Mapping[str, Any]], rate: float, seed: int) -> list[dict[str, Any]]:
    """The pairs with a share ``rate`` of them turned round; a larger rate turns those of a smaller one and more."""
    draw = random.Random(f"flips {seed}")
    turned = [draw.random() < rate for _ in pairs]
    return [
        {**p, "chosen": p["rejected"], "rejected": p["chosen"]} if turn else dict(p)
        for p, turn in zip(pairs, turned, strict=True)
    ]


class Table:
    """A CSV file of finished runs: rows are appended whole, and a line that was cut off is dropped at the start."""

    def __init__(self, path: Path, columns: Sequence[str], key: Sequence[str]) -> None:
        self.path, self.columns, self.key = path, tuple(columns), tuple(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        text = path.read_text() if path.is_file() else ""
        whole = text[: text.rfind("\n") + 1]
        if whole != text or not whole:
            path.write_text(whole or self._line(self.columns))
        self.done = {tuple(row[k] for k in self.key) for row in csv.DictReader(io.StringIO(path.read_text()))}

    def has(self, row: Mapping[str, Any]) -> bool:
        return tuple(shown(row[k]) for k in self.key) in self.done

    def add(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Append rows in one write."""
        rows = list(rows)
        text = "".join(self._line([shown(row[c]) for c in self.columns]) for row in rows)
        descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND)
        os.write(descriptor, text.encode())
        os.close(descriptor)
        self.done |= {tuple(shown(row[k]) for k in self.key) for row in rows}

    @staticmethod
    def _line(values: Sequence[str]) -> str:
        buffer = io.StringIO()
        csv.writer(buffer, lineterminator="\n").writerow(values)
        return buffer.getvalue()


def shown(value: Any) -> str:
    """A cell: five digits of a number, nothing for None."""
    return "" if value is None else f"{value:.5g}" if isinstance(value, float) else str(value)


def each(items: Sequence[Any], run: Callable[[Any], None], what: str) -> None:
    """Run all items behind a progress bar on stderr."""
    from tqdm.auto import tqdm

    for item in tqdm(items, desc=what, unit="run", dynamic_ncols=True, file=sys.stderr):
        run(item)
