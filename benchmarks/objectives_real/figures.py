"""Tables and heat maps of both parts from their CSV files.

    python benchmarks/objectives_real/figures.py --folder docs/results

Reads objectives_a.csv, objectives_a_certain.csv, objectives_a_mixture.csv and objectives_b.csv; writes objectives_a.png
and objectives_b.png beside them and prints the tables of docs/results/objectives.md.  Learning rate and temperature of
every cell are those with the best mean accuracy on the validation prompts; what is shown is the held-out accuracy there,
mean over seeds.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

WIDTH, DPI = 1200, 100
LOWEST, HIGHEST, WIDEST = 0.3, 0.8, 0.2
"""Ends of the colour scales: accuracies and differences."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=Path("docs/results"))
    folder = parser.parse_args().folder
    a, b = (pd.read_csv(folder / f"objectives_{part}.csv") for part in "ab")
    chosen = best(a, ["objective", "lcpo", "flips"], ["rate", "scale"], "")
    by_ratio = best(a, ["objective", "lcpo", "flips"], ["rate", "scale"], "ratio_")
    draw_a(chosen, folder / "objectives_a.png")
    draw_b(b, folder / "objectives_b.png")
    readings = {n: pd.read_csv(folder / f"objectives_a_{n}.csv") for n in ("certain", "mixture")}
    print(f"Part A: {len(a):,} runs of {a.objective.nunique()} objectives.  Part B: {len(b)} runs.\n")
    print(
        summary(chosen, a),
        table_a(chosen, by_ratio, a),
        readings_a(chosen, readings),
        more_a(chosen),
        table_b(b),
        sep="\n\n",
    )
    return 0


def best(runs: pd.DataFrame, cell: list[str], choices: list[str], measure: str) -> pd.DataFrame:
    """One row a cell: means over seeds at the choice that ranks validation pairs best.

    measure: "" chooses and shows the objective's own reward, "ratio_" the log-ratio to the reference.
    """
    means = runs.groupby([*cell, *choices]).mean(numeric_only=True)
    means = means.drop(columns="seed").reset_index()
    validation = f"validation_{measure}accuracy"
    return means.loc[means.groupby(cell)[validation].idxmax()].set_index(cell)


# ---- pictures -------------------------------------------------------------------------------------------


def draw_a(chosen: pd.DataFrame, path: Path) -> None:
    """Objective by flips: bare, inside LCPO, and the difference; the best bare mean comes first."""
    wide = chosen.accuracy.unstack("flips")
    bare, inside = wide.xs(0, level="lcpo"), wide.xs(1, level="lcpo")
    order = bare.mean(axis=1).sort_values(ascending=False).index
    bare, inside = bare.loc[order], inside.loc[order]
    flips = [_percent(f) for f in bare.columns]
    panels = [("bare", bare, False), ("inside LCPO", inside, False), ("LCPO minus bare", inside - bare, True)]
    title = "Part A, log-linear policies: share of held-out pairs ranked rightly (own reward), by flipped labels"
    _draw(panels, list(order), flips, title, path)


def draw_b(runs: pd.DataFrame, path: Path) -> None:
    """Objective by learning rate and flips: own reward, log-ratio, and the change of the chosen log-probability."""
    means = runs.groupby(["objective", "flips", "rate"], sort=False).mean(numeric_only=True)
    order = list(runs.objective.unique())
    columns = sorted({(f, r) for _, f, r in means.index})
    names = [f"{rate:g}\n{_percent(flips)}" for flips, rate in columns]
    panels = [
        (what, means[key].unstack(["flips", "rate"]).reindex(order)[columns], False)
        for what, key in (("own reward", "accuracy"), ("log-ratio to the reference", "ratio_accuracy"))
    ]
    title = "Part B, the language model: share of held-out pairs ranked rightly, by learning rate and flipped labels"
    _draw(panels, order, names, title, path)


def _draw(
    panels: Sequence[tuple[str, pd.DataFrame, bool]], rows: list[str], columns: list[str], title: str, path: Path
) -> None:
    """Heat maps side by side with the figure of every cell written in it."""
    from matplotlib.figure import Figure
    from PIL import Image

    height = 110 + 24 * len(rows) + (24 if any("\n" in c for c in columns) else 0)
    figure = Figure(figsize=(WIDTH / DPI, height / DPI), dpi=DPI, facecolor="white")
    axes = figure.subplots(1, len(panels), sharey=True)
    for axis, (name, values, difference) in zip(axes, panels, strict=True):
        numbers = values.to_numpy()
        low, high, colours = (-WIDEST, WIDEST, "PuOr_r") if difference else (LOWEST, HIGHEST, "cividis")
        image = axis.imshow(numbers, vmin=low, vmax=high, cmap=colours, aspect="auto")
        for (y, x), number in np.ndenumerate(numbers):
            red, green, blue, _ = image.cmap(image.norm(number))
            light = 0.299 * red + 0.587 * green + 0.114 * blue > 0.5
            axis.text(
                x, y, _cell(number, difference), ha="center", va="center", fontsize=9.5,
                color="black" if light else "white",
            )  # fmt: skip
        axis.set_title(name, fontsize=12)
        axis.set_xticks(range(len(columns)), columns, fontsize=10)
        axis.set_yticks(range(len(rows)), rows, fontsize=10.5)
        axis.tick_params(length=0)
        axis.set_frame_on(False)
    figure.suptitle(title, fontsize=13)
    figure.tight_layout(rect=(0, 0, 1, 0.995))
    drawn = io.BytesIO()
    figure.savefig(drawn)
    Image.open(drawn).convert("RGB").quantize(128, dither=Image.Dither.NONE).save(path, optimize=True)


def _cell(number: float, signed: bool = False) -> str:
    """.713, or +.013; an empty cell for what was not run."""
    if np.isnan(number):
        return ""
    text = f"{number:+.3f}" if signed else f"{number:.3f}"
    return text.replace("0.", ".", 1)


def _percent(share: float) -> str:
    return f"{share:.0%}".replace("%", " %")


# ---- tables ---------------------------------------------------------------------------------------------


def table_a(chosen: pd.DataFrame, by_ratio: pd.DataFrame, runs: pd.DataFrame) -> str:
    """Held-out accuracies of every objective, by its own reward and by the log-ratio, and what LCPO changes."""
    flips = sorted(runs.flips.unique())
    shares = " / ".join(_percent(share) for share in flips)
    lines = [
        f"| objective | bare: {shares} | LCPO | difference | at the same points | bare, log-ratio | LCPO, log-ratio |",
        "|---|---|---|---|---|---|---|",
    ]
    same = same_points(runs)
    for name in sorted(runs.objective.unique()):
        bare, inside, bare_ratio, inside_ratio = (
            [frame.loc[(name, lcpo, f), key] for f in flips]
            for frame, key in ((chosen, "accuracy"), (by_ratio, "ratio_accuracy"))
            for lcpo in (0, 1)
        )
        gained = [b - a for a, b in zip(bare, inside, strict=True)]
        cells = [(bare, False), (inside, False), (gained, True), ([same[name, f] for f in flips], True)]
        cells += [(bare_ratio, False), (inside_ratio, False)]
        lines.append(f"| {name} | " + " | ".join(" ".join(_cell(x, sign) for x in row) for row, sign in cells) + " |")
    return "\n".join(lines)


def same_points(runs: pd.DataFrame) -> pd.Series:
    """LCPO minus bare at the same rate, temperature and seed, mean over all of them, by objective and flips."""
    wide = runs.pivot_table(index=["objective", "flips", "rate", "scale", "seed"], columns="lcpo", values="accuracy")
    return (wide[1] - wide[0]).groupby(["objective", "flips"]).mean()


def more_a(chosen: pd.DataFrame) -> str:
    """Where the policies stand at the same points: rate, temperature, margin, chosen change, KL, told noise."""
    lines = [
        "| objective | rate x temperature, bare | margin, bare | chosen change, bare | KL, bare | KL, LCPO | noise told |",
        "|---|---|---|---|---|---|---|",
    ]
    flips = sorted(set(chosen.index.get_level_values("flips")))
    for name in sorted(set(chosen.index.get_level_values("objective"))):
        bare, inside = ([chosen.loc[(name, i, f)] for f in flips] for i in (0, 1))
        points = ", ".join(f"{row.rate:g} x {row.scale:g}" for row in bare)
        numbers = [" ".join(f"{row[key]:.2f}" for row in bare) for key in ("margin", "chosen_change", "kl")]
        numbers.append(" ".join(f"{row.kl:.2f}" for row in inside))
        numbers.append(" ".join(_cell(row.noise_rate) for row in inside))
        lines.append(f"| {name} | {points} | " + " | ".join(numbers) + " |")
    return "\n".join(lines)


def summary(chosen: pd.DataFrame, runs: pd.DataFrame) -> str:
    """How many objectives LCPO lifts or lowers by more than two points, and the median difference, by flips."""
    difference = chosen.accuracy.xs(1, level="lcpo") - chosen.accuracy.xs(0, level="lcpo")
    same = same_points(runs).groupby("flips").median()
    lines = [
        "| flips | median difference | at the same points | lifted by > .02 | within .02 | lowered by > .02 |",
        "|---|---|---|---|---|---|",
    ]
    for flips, values in difference.groupby("flips"):
        up, down = (values[far].index.get_level_values(0) for far in (values > 0.02, values < -0.02))
        lines.append(
            f"| {_percent(flips)} | {_cell(values.median(), True)} | {_cell(same[flips], True)} | {len(up)}: {', '.join(up)} "
            f"| {len(values) - len(up) - len(down)} | {len(down)}: {', '.join(down)} |"
        )
    return "\n".join(lines)


def readings_a(chosen: pd.DataFrame, readings: dict[str, pd.DataFrame]) -> str:
    """Held-out accuracy bare, inside LCPO, inside LCPO with labels held certain, and in its reading "mixture"."""
    columns = {"bare": chosen.accuracy.xs(0, level="lcpo"), "LCPO": chosen.accuracy.xs(1, level="lcpo")}
    for name, runs in readings.items():
        columns[name] = best(runs, ["objective", "flips"], ["rate", "scale"], "").accuracy
    lines = ["| objective | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    flips = sorted(set(chosen.index.get_level_values("flips")))
    for name in sorted(set.intersection(*(set(c.index.get_level_values("objective")) for c in columns.values()))):
        cells = [" ".join(_cell(column[name, f]) for f in flips) for column in columns.values()]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def table_b(runs: pd.DataFrame) -> str:
    """The language model at the learning rate that ranks validation pairs best, own reward; mean over seeds."""
    chosen: Any = best(runs, ["objective", "flips"], ["rate"], "")
    lines = [
        "| objective | flips | learning rate | validation | held-out, own reward | by log-ratio | margin, nats "
        "| chosen change, nats a token | KL, nats a token | noise rate told | runs |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    counts = runs.groupby(["objective", "flips"]).size()
    for name in runs.objective.unique():
        for flips in sorted(runs.flips.unique()):
            if (name, flips) not in chosen.index:
                continue
            r = chosen.loc[(name, flips)]
            lines.append(
                f"| {name} | {_percent(flips)} | {r.rate:g} | {_cell(r.validation_accuracy)} | {_cell(r.accuracy)} | "
                f"{_cell(r.ratio_accuracy)} | {r.margin:.2f} | {r.chosen_change:+.3f} | {r.kl:.3f} | {_cell(r.noise_rate)} | "
                f"{counts[name, flips]} |"
            )
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(main())
